// All texts of the page, in every language; {name} is replaced.

export const LANGUAGES = { en: "English", de: "Deutsch" };

const TEXTS = {
  skip: ["Skip to the preview", "Zur Vorschau springen"],
  pages: ["Pages", "Seiten"],
  files: ["Files", "Dateien"],
  cameras: ["Cameras", "Kameras"],
  language: ["Language", "Sprache"],
  login: ["Log in", "Anmelden"],
  logout: ["Log out", "Abmelden"],
  token: ["Token of this page", "Token dieser Seite"],
  offline: [
    "streamkind does not answer. Is the command still running? Trying again …",
    "streamkind antwortet nicht. Läuft der Befehl noch? Neuer Versuch …",
  ],
  choose: ["Choose a video", "Video wählen"],
  drop: ["Drop videos here", "Videos hier ablegen"],
  pick: ["Choose files …", "Dateien wählen …"],
  uploads: ["Files on their way", "Dateien unterwegs"],
  uploading: ["{name}: {done} of {size}", "{name}: {done} von {size}"],
  uploaded: ["{name} is here.", "{name} ist da."],
  cancel: ["Cancel", "Abbrechen"],
  cancelOf: ["Cancel {name}", "{name} abbrechen"],
  folder: ["Folder", "Ordner"],
  folders: ["Folders", "Ordner"],
  dropped: ["Dropped files", "Abgelegte Dateien"],
  videos: ["Videos", "Videos"],
  nothing: ["No video here.", "Hier ist kein Video."],
  delete: ["Delete", "Löschen"],
  deleteOf: ["Delete {name}", "{name} löschen"],
  veryDark: ["very dark", "sehr dunkel"],
  dark: ["dark", "dunkel"],
  dim: ["dim", "dämmrig"],
  bright: ["bright", "hell"],
  unreadable: ["cannot be read", "nicht lesbar"],
  none: ["No video chosen", "Kein Video gewählt"],
  hint: [
    "Choose a video: three moments of it are shown before and after.",
    "Wählen Sie ein Video: drei Momente erscheinen vorher und nachher.",
  ],
  before: ["Before", "Vorher"],
  after: ["After", "Nachher"],
  divider: ["Divider between before and after", "Trennlinie zwischen Vorher und Nachher"],
  divided: ["{before} % before, {after} % after", "{before} % vorher, {after} % nachher"],
  pictureOf: [
    "{name} at {time}, before on the left, after on the right",
    "{name} bei {time}, links vorher, rechts nachher",
  ],
  loading: ["Preparing the preview …", "Vorschau wird vorbereitet …"],
  quick: ["Quick preview; {profile} follows …", "Schnelle Vorschau; {profile} folgt …"],
  asResult: ["As {profile} makes it", "So wird es mit {profile}"],
  beside: ["Side by side", "Nebeneinander"],
  full: ["Full size", "Volle Größe"],
  showBefore: ["Show before", "Vorher zeigen"],
  close: ["Close", "Schließen"],
  moments: ["Moments", "Momente"],
  moment: ["Moment {number}, {time}", "Moment {number}, {time}"],
  time: ["Time of this moment", "Zeit dieses Moments"],
  profile: ["Profile", "Profil"],
  realtime: ["Realtime", "Realtime"],
  balanced: ["Balanced", "Balanced"],
  quality: ["Quality", "Quality"],
  expected: ["{time} for the whole file, {fps} frames a second",
    "{time} für die ganze Datei, {fps} Bilder je Sekunde"],
  measuring: ["time is measured …", "Zeit wird gemessen …"],
  unmeasured: ["time unknown", "Zeit unbekannt"],
  light: ["Light", "Licht"],
  ratio: ["Ratio", "Verhältnis"],
  auto: ["Automatic", "Automatisch"],
  autoRatio: ["auto, {ratio}", "auto, {ratio}"],
  ratioHelp: [
    "How far light is raised; moving it turns automatic off.",
    "Wie weit das Licht angehoben wird; Bewegen schaltet die Automatik aus.",
  ],
  target: ["Target", "Ziel"],
  targetHelp: [
    "Mean luma that the automatic ratio aims at.",
    "Mittlere Helligkeit, die das automatische Verhältnis anstrebt.",
  ],
  result: ["Result", "Ergebnis"],
  codec: ["Codec", "Codec"],
  crf: ["Quality (CRF)", "Qualität (CRF)"],
  crfHelp: ["Lower is better and larger; empty: the usual.",
    "Kleiner ist besser und größer; leer: wie üblich."],
  added: ["Added to the name", "Zusatz zum Namen"],
  presets: ["Presets", "Vorgaben"],
  preset: ["Use a preset", "Vorgabe verwenden"],
  choosePreset: ["Choose …", "Wählen …"],
  forget: ["Delete", "Löschen"],
  presetName: ["Keep these settings as", "Einstellungen merken als"],
  keep: ["Keep", "Merken"],
  kept: ["Kept as {name}.", "Gemerkt als {name}."],
  run: ["Add to the queue", "In die Warteschlange"],
  added_: ["{name} is in the queue.", "{name} ist in der Warteschlange."],
  queue: ["Queue", "Warteschlange"],
  idle: ["Nothing in the queue.", "Die Warteschlange ist leer."],
  space: ["{size} free", "{size} frei"],
  waiting: ["Waiting", "Wartet"],
  starting: ["Starting …", "Beginnt …"],
  surveying: ["Looking through: {share} %, {left}", "Durchsicht: {share} %, {left}"],
  working: ["{share} %, {fps} frames a second, {left}", "{share} %, {fps} Bilder je Sekunde, {left}"],
  left: ["{time} left", "noch {time}"],
  unknownLeft: ["time left unknown", "Restzeit unbekannt"],
  paused: ["Paused at {share} %", "Angehalten bei {share} %"],
  done: ["Done: {frames} frames in {time}", "Fertig: {frames} Bilder in {time}"],
  failed: ["Failed", "Fehlgeschlagen"],
  isDone: ["{name} is done.", "{name} ist fertig."],
  isFailed: ["{name} has failed.", "{name} ist fehlgeschlagen."],
  progressOf: ["Progress of {name}", "Fortschritt von {name}"],
  pause: ["Pause", "Anhalten"],
  goOn: ["Go on", "Weiter"],
  again: ["Try again", "Noch einmal"],
  up: ["Up", "Nach oben"],
  down: ["Down", "Nach unten"],
  remove: ["Remove", "Entfernen"],
  play: ["Play", "Abspielen"],
  save: ["Download", "Herunterladen"],
  show: ["Show in folder", "Im Ordner zeigen"],
  doOf: ["{what}: {name}", "{what}: {name}"],
  noBefore: [
    "The browser cannot play the original; only the result is shown.",
    "Der Browser kann das Original nicht abspielen; nur das Ergebnis wird gezeigt.",
  ],
  noAfter: [
    "The browser cannot play the result. Download it, and open it in a player.",
    "Der Browser kann das Ergebnis nicht abspielen. Laden Sie es herunter.",
  ],
  tooFar: ["The request did not arrive; try again.", "Die Anfrage kam nicht an; noch einmal."],
};

let language = Object.keys(LANGUAGES)[0];

export function t(key, values = {}) {
  const place = Object.keys(LANGUAGES).indexOf(language);
  return TEXTS[key][place].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Set the language, and all texts that stand in the HTML.
export function speak(wanted) {
  language = wanted in LANGUAGES ? wanted : "en";
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = t(node.dataset.text);
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t(node.dataset.label));
  }
}

export function number(value, digits = 0) {
  return value.toLocaleString(language, { maximumFractionDigits: digits });
}

export function bytes(size) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = size < 1 ? 0 : Math.min(4, Math.floor(Math.log10(size) / 3));
  const shown = size / 1000 ** step;
  return new Intl.NumberFormat(language, {
    style: "unit", unit: units[step], maximumFractionDigits: shown < 10 && step ? 1 : 0,
  }).format(shown);
}

// 75.2 -> 1:15; with hours 1:01:15.
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// A length of time as one says it: 45 s, 3 min, 2 h 5 min.
export function span(seconds) {
  const unit = (value, name) => new Intl.NumberFormat(language, {
    style: "unit", unit: name, maximumFractionDigits: 0,
  }).format(value);
  if (seconds < 90) return unit(Math.max(1, Math.round(seconds)), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return unit(minutes, "minute");
  return `${unit(Math.floor(minutes / 60), "hour")} ${unit(minutes % 60, "minute")}`;
}
