"use strict";
// What is true comes as a stream of whole answers; each is drawn over what is there, so that focus,
// open logs and scroll positions stay. Text is only ever set as text.

const key = "devservers-board";
function takeToken() {
  const given = location.hash.slice(1);
  if (!given) return;
  sessionStorage.setItem(key, given);
  history.replaceState(null, "", location.pathname); // not into the history, nor over a shoulder
}
takeToken();
const token = sessionStorage.getItem(key) || "";
addEventListener("hashchange", () => {
  takeToken();
  if (sessionStorage.getItem(key) !== token) location.reload();
});
const $ = (id) => document.getElementById(id);
const answers = new Map(); // by worktree: what the last button said
const busy = new Set();
let lastData = null;
let graphs = {}; // by worktree: [seconds since the epoch, bytes], for the last hour; they come rarely

function node(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function amount(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const mb = bytes / 1e6;
  return mb < 999.5 ? `${Math.round(mb)} MB` : `${(mb / 1000).toFixed(1)} GB`;
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const steps = [[60, "s"], [60, "min"], [24, "h"], [365, "d"]];
  let count = Math.max(0, Math.floor(seconds));
  for (const [step, unit] of steps) {
    if (count < step) return `${count} ${unit}`;
    count = Math.floor(count / step);
  }
  return `${count} y`;
}

const LOOKS = { running: "good", starting: "warn", unresponsive: "warn", foreign: "bad", stale: "bad", stopped: "off", disabled: "off" };
const SAYS = { unresponsive: "not responding", foreign: "port held by something else", stale: "ended by itself" };

function serversOf(row) {
  const own = Object.entries(row).filter(([, value]) => value && typeof value === "object" && "state" in value);
  return [...own, ...Object.entries(row.servers || {})];
}

function facts(its) {
  const parts = [];
  if (its.running) {
    if (its.memoryBytes !== null) parts.push(amount(its.memoryBytes));
    if (its.cpuPercent !== null) parts.push(`${Math.round(its.cpuPercent)}% cpu`);
    if (its.uptimeSeconds !== null) parts.push(`up ${span(its.uptimeSeconds)}`);
    if (its.idleSeconds !== null) parts.push(its.idleSeconds < 5 ? "in use" : `idle ${span(its.idleSeconds)}`);
  }
  return parts.join(" · ");
}

async function press(worktree, server, action) {
  const name = `${worktree} ${server}`;
  busy.add(name);
  answers.set(worktree, { ok: true, waits: true, message: `${title(server)}: ${action} …` });
  draw(lastData);
  let said;
  try {
    const response = await fetch("/do", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ worktree, server, action }),
    });
    said = await response.json();
  } catch {
    said = { ok: false, message: "The board does not answer." };
  }
  busy.delete(name);
  answers.set(worktree, said);
  set($("said"), [said.message, said.hint].filter(Boolean).join(" ")); // for who can't see the card
  draw(lastData);
}

function title(server) {
  return (lastData.titles || {})[server] || server;
}

// A button that waits is not `disabled`: it would lose the focus, and a keyboard its place.
function button(row, server, action, label, name = `${label} ${title(server)} of ${row.branch || row.worktree}`) {
  const made = node("button", "", label);
  made.type = "button";
  made.dataset.key = `${server} ${action}`;
  made.setAttribute("aria-label", name);
  if (busy.has(`${row.worktree} ${server}`)) made.setAttribute("aria-disabled", "true");
  else made.addEventListener("click", () => press(row.worktree, server, action));
  return made;
}

function link(url, text) {
  const made = node("a", "", text);
  if (/^https?:\/\//.test(url)) made.href = url;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

// The last hour, now at the right. Where nothing was seen for minutes, nothing is drawn.
function graph(points, now) {
  const box = node("div", "graph");
  const top = Math.max(...points.map(([, value]) => value), 1);
  const width = 360;
  const runs = [];
  points.forEach(([time, value], at) => {
    const x = Math.max(0, width - (now - time) / 10).toFixed(1);
    if (!at || time - points[at - 1][0] > 150) runs.push([]);
    runs.at(-1).push([x, (30 - (value / top) * 27).toFixed(1)]);
  });
  const lines = runs.map((run) => `M${run.map((point) => point.join(",")).join("L")}`);
  const areas = runs.map((run, at) => `${lines[at]}L${run.at(-1)[0]},32L${run[0][0]},32Z`);
  const last = points.at(-1)[1];
  const says = `memory: ${amount(last)}, at most ${amount(top)} in the last hour`;
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} 32`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", says);
  for (const [shape, fill] of [[areas.join(""), true], [lines.join(""), false]]) {
    const line = document.createElementNS(space, "path");
    line.setAttribute("d", shape);
    line.setAttribute("fill", fill ? "currentColor" : "none");
    line.setAttribute("opacity", fill ? "0.14" : "1");
    if (!fill) {
      line.setAttribute("stroke", "currentColor");
      line.setAttribute("stroke-width", "1.6");
      line.setAttribute("vector-effect", "non-scaling-stroke");
    }
    svg.append(line);
  }
  box.append(svg, node("span", "", says));
  return box;
}

function serverLine(row, name, its) {
  const box = node("div", "server");
  const head = node("div", "name");
  const state = node("span", `state dot ${LOOKS[its.state] || "off"}`, SAYS[its.state] || its.state);
  head.append(node("b", "", its.standIn && its.running ? `${title(name)} (stand-in)` : title(name)), state);
  const buttons = node("div", "buttons");
  if (its.running) buttons.append(button(row, name, "restart", "Restart"), button(row, name, "stop", "Stop"));
  else if (its.state !== "disabled") buttons.append(button(row, name, "start", "Start"));
  box.append(head, buttons);
  const line = node("div", "facts");
  if (its.running && its.url) line.append(link(its.url, its.url.replace("http://", "")));
  const said = facts(its);
  if (said) line.append(line.childNodes.length ? ` · ${said}` : said);
  if (line.childNodes.length) box.append(line);
  return box;
}

function card(row, data) {
  const servers = serversOf(row);
  const runs = servers.some(([, its]) => its.running);
  const made = node("article", row.served ? "served" : runs ? "" : "idle");
  made.dataset.worktree = row.worktree;
  const head = node("div", "head");
  head.append(node("h2", "", row.branch || (row.commit ? `commit ${row.commit.slice(0, 9)}` : "no branch")));
  const tags = node("div", "tags");
  if (row.served) tags.append(node("span", "tag good", "events run here"));
  if (row.pinned) tags.append(node("span", "tag good", "pinned"));
  if (row.dirty) tags.append(node("span", "tag warn", "changed"));
  if (row.current) tags.append(node("span", "tag", "main"));
  head.append(tags);
  const age = row.committedAt ? `, ${span(data.at - Date.parse(row.committedAt) / 1000)} ago` : "";
  const where = node("p", "where", `${row.worktree}${row.commit ? ` · ${row.commit.slice(0, 9)}${age}` : ""}`);
  made.append(head, where);
  const problems = new Set();
  for (const [name, its] of servers) {
    made.append(serverLine(row, name, its));
    for (const text of its.warnings || []) problems.add(text);
  }
  for (const text of problems) made.append(node("p", "said bad", text));
  if (data.inngest && data.inngest.running && runs && row.served === false) {
    const sync = node("div", "buttons");
    sync.append(button(row, "inngest", "sync", "Run events here", `Run events here, in ${row.branch || row.worktree}`));
    made.append(sync);
  }
  const points = graphs[row.worktree] || [];
  if (runs && points.length > 1) made.append(graph(points, data.at));
  for (const [name, lines] of Object.entries((data.logs || {})[row.worktree] || {})) {
    if (!lines.length) continue;
    const log = node("details");
    log.dataset.key = name;
    log.append(node("summary", "", `${title(name)}: ${lines.at(-1) || lines.at(-2) || "…"}`.slice(0, 90)), node("pre", "", lines.join("\n")));
    made.append(log);
  }
  const said = answers.get(row.worktree);
  if (said) made.append(node("p", `said ${said.waits ? "waits" : said.ok ? "" : "bad"}`, [said.message, said.hint].filter(Boolean).join("\n")));
  return made;
}

// Servers that all worktrees use. Start is all there is here: the rest would concern everybody.
function machine(data) {
  const main = data.worktrees[0];
  const found = Object.entries(data).filter(([, value]) => value && typeof value === "object" && "state" in value);
  found.push(...Object.entries(data.servers || {}));
  return found.filter(([name]) => name !== "board").map(([name, its]) => {
    const box = node("div");
    box.append(node("b", "", its.standIn && its.running ? `${title(name)} (stand-in)` : title(name)), node("span", `state dot ${LOOKS[its.state] || "off"}`, SAYS[its.state] || its.state));
    if (its.running && its.url) box.append(link(its.url, its.url.replace("http://", "")));
    const said = facts(its);
    if (said) box.append(node("span", "facts", said));
    if (main && !its.running && its.state !== "disabled") box.append(button(main, name, "start", "Start", `Start ${title(name)}`));
    return box;
  });
}

// Keep what a person has in hand: the focused button, and logs that are open.
function replace(old, made) {
  for (const log of old.querySelectorAll("details[open]")) {
    const same = [...made.querySelectorAll("details")].find((one) => one.dataset.key === log.dataset.key);
    if (same) {
      same.open = true;
      const scrolled = log.querySelector("pre");
      queueMicrotask(() => { same.querySelector("pre").scrollTop = scrolled.scrollTop; });
    }
  }
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.key || document.activeElement.href || document.activeElement.tagName : null;
  old.replaceWith(made);
  if (focused) {
    const all = [...made.querySelectorAll("button, a, summary")];
    const again = all.find((one) => (one.dataset.key || one.href || one.tagName) === focused)
      || all.find((one) => (one.dataset.key || "").split(" ")[0] === focused.split(" ")[0]); // Start became Restart
    if (again) again.focus();
  }
}

function draw(data) {
  if (!data) return;
  lastData = data;
  if (data.error) {
    connection("late", "this is what was true before");
    document.body.classList.add("stale");
    notice(["The board can't tell what is true now.", data.error.message, data.error.hint], "bad");
    return;
  }
  if (data.graphs) graphs = data.graphs;
  const rows = data.worktrees || [];
  set($("title"), data.main || "Worktrees");
  document.title = `${data.main || "Worktrees"}: worktrees`;
  const all = rows.flatMap(serversOf).map(([, its]) => its).filter((its) => its.running);
  const memory = all.reduce((sum, its) => sum + (its.memoryBytes || 0), 0);
  set($("summary"), `${rows.length} worktree${rows.length === 1 ? "" : "s"}, ${all.length} server${all.length === 1 ? "" : "s"} running${memory ? `, ${amount(memory)}` : ""}`);
  const shared = node("section");
  shared.id = "machine";
  shared.setAttribute("aria-label", $("machine").getAttribute("aria-label"));
  shared.append(...machine(data));
  replace($("machine"), shared);
  const nothing = ["Nothing runs here yet.", "Press Start on a card, or run `inv dev.up` in a worktree; `git worktree add` makes another."];
  notice(rows.length > 1 || all.length ? [] : nothing);
  const known = new Map([...$("cards").children].map((one) => [one.dataset.worktree, one]));
  for (const row of rows) {
    const made = card(row, data);
    const old = known.get(row.worktree);
    if (old) replace(old, made);
    else $("cards").append(made);
    known.delete(row.worktree);
  }
  for (const [name, gone] of known) {
    gone.remove();
    answers.delete(name);
  }
}

function notice(lines, look = "") {
  $("notice").className = look;
  $("notice").hidden = !lines.length;
  set($("notice"), lines.filter(Boolean).join("\n"));
}

function connection(state, text) {
  $("connection").className = state;
  set($("connection"), text);
  document.body.classList.toggle("stale", state === "lost");
}

async function listen() {
  const response = await fetch("/events", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (response.status === 401) {
    connection("lost", "not allowed");
    notice(["This address lacks its token, or it isn't good any more.", "Run `inv dev.board` and open the address that it prints."]);
    return false;
  }
  if (!response.ok) throw new Error(String(response.status));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("ended");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: ?/, "");
      // A sign of life without news: the board itself waits for an answer.
      connection(data ? "live" : "late", data ? "live" : "no news for some seconds");
      if (data) draw(JSON.parse(data));
    }
  }
}

async function forever() {
  for (;;) {
    try {
      if ((await listen()) === false) return;
    } catch {
      connection("lost", "connection lost: is the board still running? (`inv dev.board`)");
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}

forever();
