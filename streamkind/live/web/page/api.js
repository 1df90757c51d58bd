// The API page: shows openapi.json as text. It loads nothing from other hosts, and sends nothing.

function make(tag, text = "", name = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (name) node.className = name;
  return node;
}

function schemaOf(content) {
  const [kind, body] = Object.entries(content ?? {})[0] ?? [];
  if (!kind) return "";
  const schema = body.schema ?? {};
  const link = schema.$ref ?? schema.items?.$ref ?? "";
  return link ? link.split("/").pop() : kind;
}

function showOperation(path, method, operation) {
  const card = make("section", "", "card");
  const title = make("h2");
  title.append(make("code", `${method.toUpperCase()} ${path}`));
  card.append(title, make("p", operation.description ?? operation.summary ?? ""));
  const list = make("ul", "", "plain");
  const body = schemaOf(operation.requestBody?.content);
  if (body) list.append(make("li", `takes ${body}`));
  for (const [code, answer] of Object.entries(operation.responses)) {
    const what = schemaOf(answer.content);
    list.append(make("li", `${code}: ${answer.description}${what ? ` (${what})` : ""}`));
  }
  if (operation.security) list.append(make("li", "needs the token, if one is set"));
  card.append(list);
  return card;
}

function showSchema(name, schema) {
  const card = make("section", "", "card");
  card.append(make("h2", name), make("p", schema.description ?? ""));
  card.append(make("pre", JSON.stringify(schema.properties ?? schema, null, 1)));
  return card;
}

const answer = await fetch("openapi.json");
const api = await answer.json();
const page = document.getElementById("paths");
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    page.append(showOperation(path, method, operation));
  }
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  page.append(showSchema(name, schema));
}
