// SPDX-License-Identifier: GPL-2.0-or-later
// The page: asks /status every two seconds and draws it. Everything goes in as text, never as markup: names come from
// PCs. A row is drawn anew only when what it shows has changed, so that buttons stay under the finger.
import {authorization, edit, editImage, operator, refused} from "./operator.js";
import {$, bytes, el, ago} from "./tools.js";

const KEPT = 600; // s that the charts show
const EVERY = 2000; // ms
const history = [];
const open = new Set();
let status = null, shownState = "";
let pressed = false; // between pressing and letting go nothing moves

// --- the steps of a start -------------------------------------------------------------------------------------------
const STEPS = [["tftp", "PXE", "DHCP by the firmware, until it fetches its boot program"], ["ipxe", "boot program", "loads iPXE"],
	["script", "iPXE", "DHCP again, asks for the script"], ["ready", "disk", "the server makes its disk ready"],
	["login", "login", "iSCSI login"], ["first_read", "boot loader", "until the first read"], ["settled", "system", "reads until it is up"]];
const seconds = (s) => (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";
const known = (n) => n !== null && n !== undefined;

// Each piece of the bar is the time since the step before.
function pieces(boot) {
	let before = 0;
	const list = [];
	STEPS.forEach(([key, name], i) => {
		const at = boot && boot.seconds[key];
		if (!known(at))
			return;
		list.push({key, name, color: "c" + (i + 1), took: Math.max(0, at - before), at});
		before = Math.max(before, at);
	});
	return list;
}

function lastStart(c) {
	const list = pieces(c.boot);
	if (!list.length)
		return [];
	const whole = Math.max(list[list.length - 1].at, 0.001);
	const bar = el("div", {class: "steps", role: "img", "aria-label": list.map((p) => p.name + " " + seconds(p.took)).join(", "),
		title: list.map((p) => p.name + " " + seconds(p.took)).join("\n")},
		...list.map((p) => el("i", {class: p.color, width: 100 * p.took / whole + "%"})));
	const said = [];
	if (known(c.boot.seconds.first_read))
		said.push("disk after " + seconds(c.boot.seconds.first_read));
	if (known(c.boot.seconds.settled))
		said.push("up after " + seconds(c.boot.seconds.settled));
	if (!said.length)
		said.push(list[list.length - 1].name + " at " + seconds(list[list.length - 1].at));
	return [bar, el("span", {class: "small"}, said.join(" · "))];
}

// --- PCs ------------------------------------------------------------------------------------------------------------
function details(c) {
	const disk = c.disk || {}, boot = c.boot || {}, list = el("dl", {});
	const add = (name, value) => known(value) && value !== "" && list.append(el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
	for (const p of pieces(c.boot))
		list.append(el("div", {}, el("dt", {}, el("span", {class: "key " + p.color}), p.name), el("dd", {}, seconds(p.took))));
	if (boot.idle)
		add("waited meanwhile", seconds(boot.idle.seconds) + ", " + boot.idle.gaps + (boot.idle.gaps === 1 ? " time" : " times"));
	add("started", boot.began && ago(boot.began));
	add("MAC address", c.mac);
	add("firmware", c.firmware);
	add("group", c.group);
	add("write-back", c.keep ? "kept over restarts" : "clean at each start");
	add("updates", c.update_image);
	if (c.disk) {
		const cached = disk.cache_hit_bytes + disk.cache_miss_bytes;
		add("reads", disk.reads + (disk.reads ? ", " + (1000 * disk.read_seconds / disk.reads).toFixed(1) + " ms each" : ""));
		add("writes", disk.writes + (disk.writes ? ", " + (1000 * disk.write_seconds / disk.writes).toFixed(1) + " ms each" : ""));
		add("flushes", disk.flushes);
		add("errors", disk.errors);
		add("image cache", cached ? Math.round(100 * disk.cache_hit_bytes / cached) + " % of its reads" : null);
	}
	add("last seen", c.last_seen && ago(c.last_seen));
	return el("tr", {class: "more"}, el("td", {colspan: 8}, list));
}

function clientRow(c) {
	const disk = c.disk || {}, failure = c.boot && c.boot.failure;
	const toggle = () => {
		open.has(c.name) ? open.delete(c.name) : open.add(c.name);
		drawClients();
	};
	return el("tr", {"data-client": c.name, class: "pc" + (c.state === "off" ? " off" : "") + (open.has(c.name) ? " open" : ""), onclick: toggle},
		el("td", {}, el("b", {tabindex: 0, role: "button", "aria-expanded": String(open.has(c.name)),
			onkeydown: (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), toggle())}, c.name),
			el("div", {class: "small"}, c.address || "no address")),
		el("td", {class: "right"}, el("span", {class: "state " + c.state}, c.state), failure ? el("div", {class: "why"}, failure) : null),
		el("td", {class: "wide"}, c.running_image || (c.images || [])[0] || el("span", {class: "dim"}, "none"),
			c.update_image ? el("div", {class: "small"}, "updates " + c.update_image) : c.keep ? el("div", {class: "small"}, "kept") : null),
		el("td", {class: "wide"}, ...lastStart(c)),
		el("td", {class: "n", "data-name": "read"}, ...(c.disk ? [bytes(disk.read_bytes)] : [])),
		el("td", {class: "n right", "data-name": "written"}, ...(c.disk ? [bytes(disk.written_bytes)] : [])),
		el("td", {class: "n", "data-name": "write-back"}, ...(c.disk ? [bytes(disk.write_back_bytes)] : [])),
		el("td", {class: "act right"}, el("button", {type: "button", onclick: (e) => (e.stopPropagation(), edit(status, c))}, "Change")));
}

const rows = new Map(); // name → {key, nodes}

function rowsOf(c) {
	const key = JSON.stringify([c, open.has(c.name)]), old = rows.get(c.name);
	if (old && (old.key === key || pressed))
		return old.nodes;
	const nodes = [clientRow(c), ...(open.has(c.name) ? [details(c)] : [])];
	if (old && old.nodes[0].contains(document.activeElement)) {
		const focus = nodes[0].querySelector(document.activeElement.tagName);
		requestAnimationFrame(() => focus.focus({preventScroll: true}));
	}
	rows.set(c.name, {key, nodes});
	return nodes;
}

// Puts exactly these nodes into a parent, touching only what is not in its place.
function arrange(parent, nodes) {
	nodes.forEach((n, i) => parent.childNodes[i] !== n && parent.insertBefore(n, parent.childNodes[i] || null));
	while (parent.childNodes.length > nodes.length)
		parent.lastChild.remove();
}

function drawClients() {
	const text = $("find").value.toLowerCase(), counts = {};
	for (const c of status.clients)
		counts[c.state] = (counts[c.state] || 0) + 1;
	if (!counts[shownState])
		shownState = "";
	const shown = status.clients.filter((c) => (!shownState || c.state === shownState) &&
		[c.name, c.address, c.mac, c.state, c.running_image, ...(c.images || [])].join(" ").toLowerCase().includes(text));
	const names = new Set(status.clients.map((c) => c.name));
	for (const name of rows.keys())
		names.has(name) || rows.delete(name);
	arrange($("clients").tBodies[0], shown.flatMap(rowsOf));
	$("client-count").textContent = status.clients.length ? String(status.clients.length) : "";
	$("clients").hidden = !status.clients.length;
	$("no-clients").hidden = status.clients.length > 0;
	$("legend").hidden = !status.clients.some((c) => pieces(c.boot).length);
	const key = JSON.stringify([counts, shownState]);
	if ($("states").dataset.key !== key) {
		$("states").dataset.key = key;
		$("states").replaceChildren(...Object.keys(counts).length < 2 ? [] : Object.entries(counts).map(([s, n]) =>
			el("button", {type: "button", class: "state " + s, "aria-pressed": String(s === shownState),
				onclick: () => { shownState = s === shownState ? "" : s; drawClients(); }}, n + " " + s)));
	}
}

// --- images ---------------------------------------------------------------------------------------------------------
function imageRow(i) {
	const users = (i.users || []).length;
	const session = status.clients.find((c) => c.update_image === i.name);
	const away = i.file_is === "there" ? i.check : i.file_is;
	const content = i.check_failed ? el("span", {class: "bad"}, "NOT what it was, " + ago(i.checked)) :
		away === "absent" && i.file_is !== "there" ? el("span", {class: "bad"}, "its file is not there") :
		away === "absent" ? el("span", {class: "dim"}, "was not there to be checked, " + ago(i.check_missed)) :
		away === "unreadable" ? el("span", {class: "bad"}, "cannot be read") :
		!i.checked ? el("span", {class: "dim"}, "not checked") : el("span", {class: "good"}, "good, " + ago(i.checked));
	return el("tr", {"data-image": i.name, "data-generation": String(i.generation), class: i.current ? "" : "old"},
		el("td", {}, el("b", {}, i.name), session && i.current ? el("div", {class: "small"}, session.name + " updates it") : null),
		el("td", {class: "right", "data-name": "generation"}, i.generation + (i.current ? "" : ", for rollback")),
		el("td", {class: "wide"}, i.file, el("div", {class: "small"}, i.format + (i.file_bytes ? ", " + bytes(i.file_bytes) : ""))),
		el("td", {class: "n", "data-name": "disk"}, bytes(i.size_bytes)),
		el("td", {class: "right"}, content),
		el("td", {class: "wide", "data-name": "used by", title: (i.users || []).join(", ")}, ...(users ? [users + (users === 1 ? " PC" : " PCs")] : [])),
		el("td", {class: "act right"}, i.current ? el("button", {type: "button", onclick: () => editImage(status, i.name)}, "Change") : null));
}

function drawImages() {
	const key = JSON.stringify([status.images, status.clients.map((c) => [c.name, c.running_image, c.update_image, c.boot && c.boot.generation])]);
	const commit = status.commit, body = $("images").tBodies[0];
	if (body.dataset.key !== key) {
		body.dataset.key = key;
		body.replaceChildren(...status.images.map(imageRow));
	}
	$("images").hidden = !status.images.length;
	$("no-images").hidden = status.images.length > 0;
	$("commit").hidden = !commit;
	if (commit)
		$("commit").textContent = "Commit of " + commit.image + ": " + (commit.state === "failed" ? commit.error :
			commit.state === "done" ? (commit.look ? bytes(commit.changed) + " would be written" : "generation " + commit.generation + " is there") :
			commit.state + (commit.total ? ", " + Math.floor(100 * commit.done / commit.total) + " %" : ""));
	$("uploads").replaceChildren(...status.uploads.map((u) => el("li", {}, "Upload of " + u.file + " by " + u.by + ": " + u.state +
		(u.size ? ", " + Math.floor(100 * u.received / u.size) + " %" : ""))));
}

// --- charts ---------------------------------------------------------------------------------------------------------
function chart(name, now, key) {
	const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg"), end = history[history.length - 1].t;
	const list = history.filter((h) => h[key] !== undefined), top = Math.max(...list.map((h) => h[key]), 1e-9);
	const x = (h) => (100 - 100 * (end - h.t) / KEPT).toFixed(2);
	const line = list.map((h, i) => (i ? "L" : "M") + x(h) + " " + (38 - 36 * h[key] / top).toFixed(1)).join("");
	for (const [kind, d] of list.length ? [["area", line + "L100 40L" + x(list[0]) + " 40Z"], ["line", line]] : []) {
		const path = document.createElementNS(ns, "path");
		path.setAttribute("class", kind);
		path.setAttribute("d", d);
		svg.append(path);
	}
	svg.setAttribute("viewBox", "0 0 100 40");
	svg.setAttribute("preserveAspectRatio", "none");
	svg.setAttribute("role", "img");
	svg.setAttribute("aria-label", name + ", the last ten minutes");
	return el("figure", {title: "the last ten minutes; top: " + (key === "running" ? top : bytes(Math.round(top)) + "/s")},
		el("b", {}, now), svg, el("figcaption", {}, name));
}

// A moment is the totals of that time; rates follow from the one before. Totals that shrink: a PC has started anew.
function note(t, running, read, written) {
	const last = history[history.length - 1], now = {t, running, read, written}, dt = last ? t - last.t : 0;
	if (dt > 0) {
		now.readRate = Math.max(0, (read - last.read) / dt);
		now.writeRate = Math.max(0, (written - last.written) / dt);
	}
	history.push(now);
	while (history[0].t < t - KEPT)
		history.shift();
	return now;
}

const sum = (key) => status.clients.reduce((n, c) => n + ((c.disk || {})[key] || 0), 0);

function noteStatus() {
	const t = performance.now() / 1000;
	if (!history.length) // what the server remembers
		for (const [ago, ...totals] of status.history || [])
			note(t - ago, ...totals);
	return note(t, status.clients.filter((c) => c.state === "running").length, sum("read_bytes"), sum("written_bytes"));
}

function drawCharts() {
	const now = noteStatus();
	const parts = [
		chart("PCs running", String(now.running), "running"),
		chart("read by PCs", bytes(Math.round(now.readRate || 0)) + "/s", "readRate"),
		chart("written by PCs", bytes(Math.round(now.writeRate || 0)) + "/s", "writeRate"),
	];
	if (status.store) {
		const used = status.store.used_bytes / Math.max(status.store.size_bytes, 1);
		const most = status.clients.filter((c) => c.disk && c.disk.write_back_bytes).sort((a, b) => b.disk.write_back_bytes - a.disk.write_back_bytes)[0];
		parts.push(el("figure", {}, el("figcaption", {}, "write-back store"), el("b", {}, status.store.failed ? "FAILED" : Math.round(100 * used) + " % used"),
			el("meter", {min: 0, max: 1, high: 0.8, optimum: 0, value: used}),
			el("span", {class: "small"}, bytes(status.store.used_bytes) + " of " + bytes(status.store.size_bytes) +
				(most ? "; most: " + most.name + ", " + bytes(most.disk.write_back_bytes) : ""))));
	}
	$("charts").replaceChildren(...parts);
}

// --- all of it ------------------------------------------------------------------------------------------------------
function drawLog() {
	const key = JSON.stringify(status.log);
	if ($("log").dataset.key === key)
		return;
	$("log").dataset.key = key;
	$("log").replaceChildren(...status.log.map((l) => el("li", {class: l.level}, el("time", {datetime: l.time}, new Date(l.time).toLocaleString()),
		(l.level === "notice" ? "" : l.level + ": ") + l.text)));
}

function draw() {
	document.title = status.server.name || "bootwell";
	$("server").textContent = status.server.name || "bootwell";
	$("facts").textContent = "bootwell " + status.server.version + " · DHCP " + status.dhcp.mode + ", " + status.dhcp.leases +
		" of " + status.dhcp.addresses + " addresses leased" + (status.server.targets ? "" : " · no disks: targets are off");
	arrange($("problems"), status.problems.map((p, i) => {
		const old = $("problems").childNodes[i];
		return old && old.textContent === p ? old : el("li", {}, p);
	}));
	$("operator").hidden = !status.server.operator;
	drawCharts();
	drawClients();
	drawImages();
	drawLog();
}

// Who may not look sees that, and the way in.
function stranger(answer) {
	$("problems").replaceChildren(el("li", {}, "Only operators see more: " + answer.error + "."));
	$("operator").hidden = false;
	refused();
}

let timer = 0;
export async function refresh() {
	clearTimeout(timer);
	try {
		const r = await fetch("/status", {cache: "no-store", headers: authorization()});
		if (r.status === 403 || r.status === 429)
			return stranger(await r.json());
		status = await r.json();
		document.body.classList.remove("stale");
		draw();
	} catch (e) {
		document.body.classList.add("stale");
		$("problems").replaceChildren(el("li", {}, "The server does not answer; what is shown is old. Trying again. (" + e.message + ")"));
	}
	timer = document.hidden ? 0 : setTimeout(refresh, EVERY);
}

$("legend").replaceChildren(...STEPS.map(([, name, what], i) => el("span", {title: what}, el("span", {class: "key c" + (i + 1)}), name)));
$("find").addEventListener("input", () => status && drawClients());
for (const [event, down] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]])
	document.addEventListener(event, () => (pressed = down), true);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
operator(refresh);
refresh();
