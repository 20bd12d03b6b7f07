"use strict";

// The gallery of answers: filters, order, and cards drawn as the reader scrolls.

const { make, picture } = cfx;
const PAGE = 60; // cards drawn at a time
const SIDES = { "": "112px", medium: "168px", large: "256px" };
const KEY_METRICS = ["judge_confidence", "realism_percentile", "im1", "l1"];
const data = cfx.data("answers");
const entries = data.entries; // the worst first
const metricNamed = Object.fromEntries(data.metrics.map((metric) => [metric.name, metric]));
const inputs = new Set(entries.map((entry) => entry.input));
const filters = document.getElementById("answers-filters");
const cards = document.getElementById("answers-cards");
const count = document.getElementById("answers-count");
const more = document.getElementById("answers-more");
const dark = matchMedia("(prefers-color-scheme: dark)");
let shown = []; // entries that pass the filters, in order
let drawn = 0; // how many of them have a card

const value = (entry, name) => entry.metrics[name] ?? null; // metrics without a value are not in the data
const percent = (share) => (share === null ? "-" : `${(100 * share).toFixed(1)} %`);

/** A value as cfx's tables print it. */
function printed(metric, number) {
  if (number === null) return "-";
  if (metric.yesOrNo) return number ? "yes" : "no";
  if (metric.kind === "share") return percent(number);
  return Math.abs(number) >= 100 ? number.toFixed(0) : String(Number(number.toPrecision(3)));
}

function option(text, chosen) {
  const element = make("option", "", text);
  element.value = chosen;
  return element;
}

// Filters and order

const VERDICTS = {
  "": () => true,
  valid: (entry) => entry.valid,
  "not-valid": (entry) => !entry.valid,
  "judges-disagree": (entry) => value(entry, "judge_agrees") === 0,
  "not-real": (entry) => value(entry, "looks_real") === 0,
};

function fillFilters() {
  const { engine, from, to, sort } = filters.elements;
  engine.append(option(data.controls.length ? "all but controls" : "all", ""));
  if (data.controls.length) engine.append(option("all, with controls", "*"));
  for (const name of data.engines) engine.append(option(data.controls.includes(name) ? `${name} (control)` : name, `=${name}`));
  for (const [select, key] of [[from, "seen"], [to, "target"]]) {
    const there = new Set(entries.map((entry) => entry[key]));
    select.append(option("any class", ""));
    for (const name of data.classes) if (there.has(name)) select.append(option(name, `=${name}`));
  }
  for (const metric of data.metrics) sort.append(option(metric.label, `=${metric.name}`));
}

/** Without a choice, controls are left out, unless there is nothing else. */
function passesEngine(choice) {
  const controls = new Set(data.controls);
  if (choice === "*" || (choice === "" && controls.size === data.engines.length)) return () => true;
  if (choice === "") return (entry) => !controls.has(entry.engine);
  return (entry) => `=${entry.engine}` === choice;
}

function select() {
  const chosen = Object.fromEntries(new FormData(filters));
  const ofEngine = passesEngine(chosen.engine);
  const ofVerdict = VERDICTS[chosen.verdict] ?? VERDICTS[""];
  const named = chosen.input.trim().toLowerCase();
  const exactly = inputs.has(chosen.input);
  const result = entries.filter((entry) =>
    ofEngine(entry) && ofVerdict(entry)
    && (!chosen.from || `=${entry.seen}` === chosen.from)
    && (!chosen.to || `=${entry.target}` === chosen.to)
    && (exactly ? entry.input === chosen.input : entry.input.toLowerCase().includes(named)));
  const best = chosen.order === "best";
  if (chosen.sort === "question") return byQuestion(result);
  if (chosen.sort) return byMetric(result, chosen.sort.slice(1), best);
  return best ? result.reverse() : result; // the data has the worst first
}

function byQuestion(list) {
  const first = new Map();
  const key = (entry) => JSON.stringify([entry.input, entry.target]);
  for (const entry of entries) first.set(key(entry), Math.min(entry.position, first.get(key(entry)) ?? Infinity));
  const order = new Map(list.map((entry) => [entry, first.get(key(entry))]));
  return list.sort((a, b) => order.get(a) - order.get(b) || a.position - b.position);
}

function byMetric(list, name, best) {
  const metric = metricNamed[name];
  if (!metric) return list;
  const rising = (metric.better !== "lower") !== best;
  return list.sort((a, b) => {
    const [x, y] = [value(a, name), value(b, name)];
    if (x === null || y === null) return (x === null) - (y === null); // missing values come last
    return rising ? x - y : y - x;
  });
}

function update() {
  document.documentElement.style.setProperty("--side", SIDES[filters.elements.size.value] ?? SIDES[""]);
  filters.elements.order.disabled = filters.elements.sort.value === "question";
  shown = select();
  drawn = 0;
  cards.replaceChildren();
  const number = (many) => many.toLocaleString("en");
  count.textContent = shown.length
    ? `${number(shown.length)} of ${number(entries.length)} answers` : `None of ${number(entries.length)} answers`;
  drawMore();
}

function drawMore() {
  const sort = filters.elements.sort.value.slice(1);
  cards.append(...shown.slice(drawn, drawn + PAGE).map((entry) => card(entry, sort)));
  drawn = Math.min(shown.length, drawn + PAGE);
  more.hidden = drawn === shown.length;
  more.textContent = `Show more (${(shown.length - drawn).toLocaleString("en")} left)`;
  observer.unobserve(more); // a new observation reports at once whether the button is still in view
  observer.observe(more);
}

const observer = new IntersectionObserver(
  (seen) => { if (seen.at(-1).isIntersecting && !more.hidden) drawMore(); }, { rootMargin: "800px" });

// Cards

function card(entry, sort) {
  const before = picture(data.pictures[entry.before], `${entry.input}, seen as ${entry.seen}`);
  const after = picture(data.pictures[entry.after], `counterfactual by ${entry.engine} towards ${entry.target}, seen as ${entry.found}`);
  const change = document.createElement("canvas");
  const largest = make("span", "");
  change.setAttribute("role", "img");
  change.setAttribute("aria-label", "what changed");
  Promise.all([before.decode(), after.decode()]).then(
    () => drawChange(before, after, change, largest),
    () => { largest.textContent = "a picture is damaged"; });
  const confidence = percent(value(entry, "confidence"));
  const article = make("article", "card",
    make("header", "", make("h3", "", `${entry.seen} → ${entry.target}`),
      make("span", "engine", entry.engine, data.controls.includes(entry.engine) ? " (control)" : "")),
    inputButton(entry),
    make("div", "pictures",
      make("figure", "", before, make("figcaption", "", `sees ${entry.seen}`, make("span", "", percent(entry.seenConfidence)))),
      make("figure", "", after, make("figcaption", "", `sees ${entry.found}`,
        make("span", "", entry.found === entry.target ? confidence : `${entry.target}: ${confidence}`))),
      make("figure", "", change, make("figcaption", "", "change", largest))),
    verdicts(entry));
  const listed = data.metrics.filter((metric) => KEY_METRICS.includes(metric.name) || metric.name === sort);
  article.append(metricList(entry, listed));
  if (data.metrics.length > listed.length) article.append(allMetrics(entry));
  return article;
}

/** The image's name, as a button that shows every answer to the same question. */
function inputButton(entry) {
  const button = make("button", "input", entry.input);
  button.type = "button";
  button.title = `${entry.input}: all answers to this question`;
  button.addEventListener("click", () => {
    filters.reset();
    filters.elements.input.value = entry.input;
    filters.elements.to.value = `=${entry.target}`;
    filters.elements.engine.value = data.controls.length ? "*" : "";
    filters.elements.sort.value = "question";
    cfx.remember("pushState"); // so that the browser's back button works
    update();
    filters.scrollIntoView();
    count.focus({ preventScroll: true });
  });
  return button;
}

function verdicts(entry) {
  const verdict = (name, yes, no) => {
    if (!(name in metricNamed)) return "";
    const answer = value(entry, name);
    if (answer === null) return make("li", "unknown", `${yes}: not known`);
    return make("li", answer ? "yes" : "no", answer ? `✓ ${yes}` : `✗ ${no}`);
  };
  return make("ul", "verdicts",
    make("li", entry.valid ? "yes" : "no", entry.valid ? "✓ valid" : "✗ not valid"),
    verdict("judge_agrees", "judges agree", "judges disagree"),
    verdict("referee_agrees", "referee agrees", "referee disagrees"),
    verdict("looks_real", "looks real", `does not look real${whyNotReal(entry)}`));
}

/** What makes an answer look unreal, as cfx’s cards print it: ": blurred". */
function whyNotReal(entry) {
  const faults = data.ranges.map((range) => {
    const percentile = value(entry, range.metric);
    if (percentile === null) return "";
    return percentile < range.low ? range.below : percentile > range.high ? range.above : "";
  }).filter(Boolean);
  return faults.length ? `: ${faults.join(", ")}` : "";
}

function metricList(entry, metrics) {
  return make("dl", "metrics", ...metrics.map((metric) =>
    make("div", "", make("dt", "", metric.label), make("dd", "", printed(metric, value(entry, metric.name))))));
}

function allMetrics(entry) {
  const details = make("details", "", make("summary", "", "all metrics"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(metricList(entry, data.metrics));
  });
  return details;
}

// The signed change

const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function pixels(image, width, height) {
  Object.assign(scratch.canvas, { width, height });
  scratch.drawImage(image, 0, 0, width, height);
  return scratch.getImageData(0, 0, width, height).data;
}

/** The colour shows whether a pixel became brighter or darker, its opacity how much the most changed channel changed. */
function drawChange(before, after, canvas, caption) {
  const [width, height] = [before.naturalWidth, before.naturalHeight];
  const [a, b] = [pixels(before, width, height), pixels(after, width, height)];
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim().split(" ").map(Number);
  const [added, removed] = [colour("--added"), colour("--removed")];
  const strength = (i) => Math.max(Math.abs(b[i] - a[i]), Math.abs(b[i + 1] - a[i + 1]), Math.abs(b[i + 2] - a[i + 2]));
  let largest = 0;
  for (let i = 0; i < a.length; i += 4) largest = Math.max(largest, strength(i));
  Object.assign(canvas, { width, height });
  canvas.classList.toggle("fine", Math.max(width, height) > 128);
  const context = canvas.getContext("2d");
  const result = context.createImageData(width, height);
  for (let i = 0; largest && i < a.length; i += 4) {
    const brightness = 299 * (b[i] - a[i]) + 587 * (b[i + 1] - a[i + 1]) + 114 * (b[i + 2] - a[i + 2]); // ITU-R BT.601
    result.data.set(brightness >= 0 ? added : removed, i);
    result.data[i + 3] = Math.round((255 * strength(i)) / largest);
  }
  context.putImageData(result, 0, 0);
  caption.textContent = largest ? `up to ${Number((largest / 255).toPrecision(2))}` : "nothing";
}

// The view, kept in the URL

cfx.remembers({
  save(state) {
    for (const [name, chosen] of new FormData(filters)) if (chosen) state.set(name, chosen);
  },
  load(state) {
    for (const field of filters.elements) if (field.name) {
      field.value = state.get(field.name) ?? "";
      if (field.selectedIndex === -1) field.value = ""; // not one of this page's choices
    }
    update();
  },
});

fillFilters();
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", () => { cfx.remember(); update(); });
filters.addEventListener("reset", () => setTimeout(() => { cfx.remember(); update(); }));
more.addEventListener("click", drawMore);
dark.addEventListener("change", update); // the change is drawn in the scheme's colours
