// All texts of the page in every language. Words in braces, such as {name}, are replaced.

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
    "streamkind does not answer. Check that the command is running. Trying again …",
    "streamkind antwortet nicht. Prüfen Sie, ob der Befehl läuft. Neuer Versuch …",
  ],
  choose: ["Choose a video", "Video wählen"],
  drop: ["Drop videos here", "Videos hier ablegen"],
  pick: ["Choose files …", "Dateien wählen …"],
  uploads: ["Uploads", "Hochgeladene Dateien"],
  uploading: ["{name}: {done} of {size}", "{name}: {done} von {size}"],
  uploaded: ["{name} is uploaded.", "{name} ist hochgeladen."],
  cancel: ["Cancel", "Abbrechen"],
  cancelOf: ["Cancel {name}", "{name} abbrechen"],
  folder: ["Folder", "Ordner"],
  folders: ["Folders", "Ordner"],
  videos: ["Videos", "Videos"],
  nothing: ["There is no video in this folder.", "In diesem Ordner ist kein Video."],
  notRead: [
    "cannot be read. If it is a folder, drop the videos in it.",
    "nicht lesbar. Wenn es ein Ordner ist, legen Sie die Videos darin ab.",
  ],
  more: [
    "Only the first {count} entries are shown. Name a smaller folder in the command.",
    "Nur die ersten {count} Einträge werden gezeigt. Nennen Sie im Befehl einen kleineren Ordner.",
  ],
  deleteOf: ["Delete {name}", "{name} löschen"],
  veryDark: ["very dark", "sehr dunkel"],
  dark: ["dark", "dunkel"],
  dim: ["dim", "dämmrig"],
  bright: ["bright", "hell"],
  unreadable: ["cannot be read", "nicht lesbar"],
  none: ["No video chosen", "Kein Video gewählt"],
  hint: [
    "Choose a video. Three frames of it are shown before and after.",
    "Wählen Sie ein Video. Drei Bilder daraus werden vorher und nachher gezeigt.",
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
  quick: [
    "Quick preview. The result of {profile} follows …",
    "Schnelle Vorschau. Das Ergebnis von {profile} folgt …",
  ],
  asResult: ["Result of {profile}", "Ergebnis von {profile}"],
  beside: ["Side by side", "Nebeneinander"],
  full: ["Full size", "Volle Größe"],
  showBefore: ["Show before", "Vorher zeigen"],
  close: ["Close", "Schließen"],
  moments: ["Moments", "Momente"],
  moment: ["Moment {number}, {time}", "Moment {number}, {time}"],
  time: ["Time in the video", "Zeit im Video"],
  profile: ["Profile", "Profil"],
  realtime: ["Realtime", "Realtime"],
  balanced: ["Balanced", "Balanced"],
  quality: ["Quality", "Quality"],
  expected: ["{time} for the whole file, {fps} frames per second",
    "{time} für die ganze Datei, {fps} Bilder pro Sekunde"],
  measuring: ["Measuring the time …", "Die Zeit wird gemessen …"],
  unmeasured: ["Time unknown", "Zeit unbekannt"],
  light: ["Light", "Licht"],
  ratio: ["Ratio", "Verhältnis"],
  auto: ["Automatic", "Automatisch"],
  autoRatio: ["auto, {ratio}", "auto, {ratio}"],
  ratioHelp: [
    "Factor by which the illumination is raised. Moving the slider turns off Automatic.",
    "Faktor, um den die Beleuchtung erhöht wird. Bewegen schaltet die Automatik aus.",
  ],
  least: ["0.1", "0,1"],
  target: ["Target", "Ziel"],
  targetHelp: [
    "Mean luma of the result, if the ratio is automatic.",
    "Mittlere Helligkeit des Ergebnisses bei automatischem Verhältnis.",
  ],
  result: ["Result", "Ergebnis"],
  codec: ["Codec", "Codec"],
  crf: ["Quality (CRF)", "Qualität (CRF)"],
  crfHelp: ["A lower value gives better quality and a larger file. Empty: the encoder's default.",
    "Ein kleinerer Wert gibt bessere Qualität und eine größere Datei. Leer: Vorgabe des Encoders."],
  added: ["Suffix of the file name", "Zusatz zum Dateinamen"],
  presets: ["Presets", "Vorgaben"],
  preset: ["Use a preset", "Vorgabe verwenden"],
  choosePreset: ["Choose …", "Wählen …"],
  forget: ["Delete", "Löschen"],
  presetName: ["Name of a new preset", "Name einer neuen Vorgabe"],
  presetRule: [
    "A preset needs a name of up to 40 characters, without a slash. It cannot begin with a dot or space.",
    "Eine Vorgabe braucht einen Namen mit bis zu 40 Zeichen, ohne Schrägstrich, und ohne Punkt " +
      "oder Leerzeichen am Anfang.",
  ],
  addedRule: [
    "The suffix of the file name may have letters, digits, spaces and _ ( ) + - only.",
    "Der Zusatz zum Dateinamen darf nur Buchstaben, Ziffern, Leerzeichen und _ ( ) + - haben.",
  ],
  crfRule: [
    "The quality (CRF) is a whole number from 0 to {most}.",
    "Die Qualität (CRF) ist eine ganze Zahl von 0 bis {most}.",
  ],
  keep: ["Save", "Speichern"],
  kept: ["The preset {name} is saved.", "Die Vorgabe {name} ist gespeichert."],
  run: ["Add to the queue", "Zur Warteschlange hinzufügen"],
  added_: ["{name} is in the queue.", "{name} ist in der Warteschlange."],
  queue: ["Queue", "Warteschlange"],
  idle: ["The queue is empty.", "Die Warteschlange ist leer."],
  space: ["{size} free", "{size} frei"],
  waiting: ["Waiting", "Wartet"],
  starting: ["Starting …", "Beginnt …"],
  surveying: ["First pass: {share} %, {left}", "Erster Durchlauf: {share} %, {left}"],
  working: ["{share} %, {fps} frames per second, {left}",
    "{share} %, {fps} Bilder pro Sekunde, {left}"],
  left: ["{time} left", "noch {time}"],
  unknownLeft: ["time left unknown", "Restzeit unbekannt"],
  paused: ["Paused at {share} %", "Angehalten bei {share} %"],
  done: ["Done: {frames} frames in {time}", "Fertig: {frames} Bilder in {time}"],
  failed: ["Failed", "Fehlgeschlagen"],
  isDone: ["{name} is done.", "{name} ist fertig."],
  isFailed: ["{name} has failed.", "{name} ist fehlgeschlagen."],
  progressOf: ["Progress of {name}", "Fortschritt von {name}"],
  pause: ["Pause", "Anhalten"],
  goOn: ["Resume", "Fortsetzen"],
  again: ["Try again", "Noch einmal versuchen"],
  up: ["Move up", "Nach oben"],
  down: ["Move down", "Nach unten"],
  remove: ["Remove", "Entfernen"],
  play: ["Play", "Abspielen"],
  save: ["Download", "Herunterladen"],
  show: ["Show in folder", "Im Ordner zeigen"],
  doOf: ["{what}: {name}", "{what}: {name}"],
  noBefore: [
    "The browser cannot play the original. Only the result is shown.",
    "Der Browser kann das Original nicht abspielen. Nur das Ergebnis wird gezeigt.",
  ],
  noAfter: [
    "The browser cannot play the result. Download it, and open it in a player.",
    "Der Browser kann das Ergebnis nicht abspielen. Laden Sie es herunter, und öffnen Sie es " +
      "in einem Player.",
  ],
  gone: [
    "This entry does not exist any more. It may have been removed in another browser.",
    "Diesen Eintrag gibt es nicht mehr. Vielleicht wurde er in einem anderen Browser entfernt.",
  ],
  tooFar: [
    "streamkind did not answer. Try again.",
    "streamkind hat nicht geantwortet. Versuchen Sie es noch einmal.",
  ],
};

let language = Object.keys(LANGUAGES)[0];

export function t(key, values = {}) {
  const place = Object.keys(LANGUAGES).indexOf(language);
  return TEXTS[key][place].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Set the language, and all texts in the HTML.
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

// A length of time in words: 45 s, 3 min, 2 h 5 min.
export function span(seconds) {
  const unit = (value, name) => new Intl.NumberFormat(language, {
    style: "unit", unit: name, maximumFractionDigits: 0,
  }).format(value);
  if (seconds < 90) return unit(Math.max(1, Math.round(seconds)), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return unit(minutes, "minute");
  return `${unit(Math.floor(minutes / 60), "hour")} ${unit(minutes % 60, "minute")}`;
}
