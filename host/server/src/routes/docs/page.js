// Shows /openapi.json: operations by tag, each with its parameters, fields and answers. Text only ever becomes text
// nodes, so nothing in the document can become markup.
"use strict";

const METHODS = ["get", "put", "post", "delete"];

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function resolve(api, schema) {
  const path = schema?.$ref?.split("/").slice(1);
  return path ? path.reduce((place, step) => place[step], api) : schema;
}

function nameOf(schema) {
  return schema?.$ref?.split("/").pop();
}

function typeText(api, schema) {
  if (!schema) return "";
  const named = nameOf(schema);
  const whole = resolve(api, schema);
  const options = schema.oneOf ?? schema.anyOf;
  if (options) return options.map((option) => typeText(api, option)).join(" | ");
  if (whole.type === "array") return `${typeText(api, whole.items)}[]`;
  if (named) return named;
  if (whole.additionalProperties?.$ref || whole.additionalProperties?.type) {
    return `{ name: ${typeText(api, whole.additionalProperties)} }`;
  }
  return [whole.type].flat().filter(Boolean).join(" | ") || "any";
}

// All fields of an object, those of the schemas that it is composed of included.
function fieldsOf(api, schema) {
  const whole = resolve(api, schema) ?? {};
  const own = Object.entries(whole.properties ?? {}).map(([name, field]) => ({
    name, field, required: (whole.required ?? []).includes(name),
  }));
  return [...own, ...(whole.allOf ?? []).flatMap((part) => fieldsOf(api, part))];
}

// A field that may be null carries its text on the schema that it is otherwise.
function textOf(api, field) {
  const options = field.oneOf ?? field.anyOf ?? [];
  return field.description ?? options.find((option) => option.description)?.description
    ?? resolve(api, field)?.description;
}

function row(name, type, required, text) {
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? "" : element("span", { class: "dim" }, " optional")),
    element("td", {}, element("code", { class: "dim" }, type)),
    element("td", {}, text ?? ""));
}

function schemaView(api, schema) {
  const whole = resolve(api, schema);
  const item = whole?.type === "array" ? whole.items : schema;
  const fields = fieldsOf(api, item);
  const shown = resolve(api, item);
  const example = shown?.example ?? shown?.examples?.[0];
  const box = element("div", {}, element("code", {}, typeText(api, schema)));
  if (fields.length > 0) {
    const rows = fields.map(({ name, field, required }) =>
      row(name, typeText(api, field), required, textOf(api, field)));
    box.append(element("table", {}, ...rows));
  }
  if (example !== undefined) box.append(element("pre", {}, JSON.stringify(example, null, 2)));
  return box;
}

// The codes of one status. All problems have the same fields, which are shown once, at the end of the page.
function problemCodes(api, content) {
  const rows = Object.entries(content.examples ?? {}).map(([code, example]) =>
    element("tr", {},
      element("td", {}, element("a", { href: "#problem" }, element("code", {}, code))),
      element("td", {}, resolve(api, example)?.value?.detail ?? "")));
  return element("table", {}, ...rows);
}

function operationView(api, path, method, operation) {
  const body = element("div", {});
  if (operation.description) body.append(element("p", {}, operation.description));
  const parameters = operation.parameters ?? [];
  if (parameters.length > 0) {
    const rows = parameters.map((one) =>
      row(`${one.name} (${one.in})`, typeText(api, one.schema), one.required, one.description));
    body.append(element("h3", {}, "Parameters"), element("table", {}, ...rows));
  }
  for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
    body.append(element("h3", {}, `Body: ${type}`), schemaView(api, content.schema));
  }
  for (const [status, response] of Object.entries(operation.responses)) {
    const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
    if (type === "application/problem+json") {
      body.append(element("h3", {}, status), problemCodes(api, content));
      continue;
    }
    body.append(element("h3", {}, `${status}: ${response.description}`));
    if (content?.schema) body.append(schemaView(api, content.schema));
  }
  const view = element("details", { id: operation.operationId },
    element("summary", {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("code", {}, path),
      element("span", { class: "dim" }, operation.summary ?? "")),
    body);
  view.dataset.text = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  return view;
}

function show(api) {
  const main = document.getElementById("api");
  main.replaceChildren(element("p", {}, api.info.description ?? ""));
  for (const tag of api.tags ?? []) {
    const operations = Object.entries(api.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]?.tags?.includes(tag.name))
        .map((method) => operationView(api, path, method, item[method])));
    main.append(element("section", {},
      element("h2", {}, tag.name), element("p", { class: "dim" }, tag.description ?? ""), ...operations));
  }
  main.append(element("section", { id: "problem" },
    element("h2", {}, "Problem"), schemaView(api, { $ref: "#/components/schemas/Problem" })));
  main.removeAttribute("aria-busy");
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const view of main.querySelectorAll("details")) {
      view.hidden = !words.every((word) => view.dataset.text.includes(word));
    }
    for (const section of main.querySelectorAll("section")) {
      const views = [...section.querySelectorAll("details")];
      section.hidden = views.length > 0 && views.every((view) => view.hidden);
    }
  });
  document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => document.getElementById("api").replaceChildren(`The document can't be shown: ${error}`));
