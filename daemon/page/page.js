// SPDX-License-Identifier: GPL-2.0-or-later
// The page: asks /status every two seconds and draws it. Everything goes in as text, never as markup: names come
// from PCs. Changes need the operator's token, which stays in this tab.
"use strict";
const $ = (id) => document.getElementById(id);
const history = [];
const KEPT = 150;
let token = sessionStorage.getItem("token") || "";
let status = null;

function el(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attributes || {}))
		if (k === "onclick")
			e.addEventListener("click", v);
		else if (k === "width")
			e.style.width = v;
		else
			e.setAttribute(k, v);
	e.append(...children.filter((c) => c !== null && c !== undefined));
	return e;
}

function bytes(n) {
	if (n === undefined || n === null)
		return "";
	for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
		if (n < 1024 || unit === "TiB")
			return (unit === "B" ? n : n.toFixed(n < 10 ? 1 : 0)) + " " + unit;
		n /= 1024;
	}
}

const seconds = (s) => (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";
const STEP_NAMES = {tftp: "boot program", ipxe: "iPXE asks", script: "script", ready: "disk ready", login: "iSCSI login", first_read: "first read"};

// The steps of a start as pieces of one bar; each piece is the time since the step before.
function steps(boot) {
	const bar = el("div", {class: "steps", role: "img"});
	const said = [];
	let before = 0;
	if (!boot)
		return null;
	const known = Object.keys(STEP_NAMES).filter((k) => boot.seconds[k] !== null && boot.seconds[k] !== undefined)
		.sort((a, b) => boot.seconds[a] - boot.seconds[b]);
	const whole = Math.max(...known.map((k) => boot.seconds[k]), 0.001);
	for (const k of known) {
		const took = boot.seconds[k] - before;
		bar.append(el("i", {width: (100 * took / whole) + "%"}));
		said.push(STEP_NAMES[k] + " " + seconds(boot.seconds[k]));
		before = boot.seconds[k];
	}
	if (!known.length)
		return null;
	bar.setAttribute("aria-label", said.join(", "));
	bar.setAttribute("title", said.join("\n"));
	return el("div", {}, bar, el("span", {class: "small"}, said[said.length - 1]));
}

function matches(c, text) {
	return !text || [c.name, c.address, c.state, c.mac, c.running_image, ...(c.images || [])].join(" ").toLowerCase().includes(text.toLowerCase());
}

function clientRow(c) {
	const disk = c.disk || {};
	const failure = c.boot && c.boot.failure;
	return el("tr", {"data-client": c.name, class: c.state === "off" ? "gone" : ""},
		el("td", {}, el("b", {}, c.name), " ", el("span", {class: "small"}, c.mac)),
		el("td", {}, el("span", {class: "state " + c.state}, c.state), failure ? el("div", {class: "why"}, failure) : null),
		el("td", {class: "n"}, c.address || ""),
		el("td", {}, c.running_image || (c.images || [])[0] || "none", c.keep ? el("span", {class: "small"}, " kept") : null),
		el("td", {class: "wide"}, ...[steps(c.boot)].filter(Boolean)),
		el("td", {class: "n", "data-name": "read"}, bytes(disk.read_bytes)),
		el("td", {class: "n", "data-name": "written"}, bytes(disk.written_bytes)),
		el("td", {class: "n", "data-name": "write-back"}, bytes(disk.write_back_bytes)),
		el("td", {class: "act"}, el("button", {type: "button", onclick: () => edit(c)}, "Change")));
}

function chart(name, now, values) {
	const top = Math.max(...values, 1e-9);
	const at = (v, i) => (i * 100 / Math.max(KEPT - 1, 1)).toFixed(1) + " " + (38 - 36 * v / top).toFixed(1);
	const ns = "http://www.w3.org/2000/svg";
	const svg = document.createElementNS(ns, "svg");
	const path = document.createElementNS(ns, "path");
	svg.setAttribute("viewBox", "0 0 100 40");
	svg.setAttribute("preserveAspectRatio", "none");
	path.setAttribute("d", values.map((v, i) => (i ? "L" : "M") + at(v, i + KEPT - values.length)).join(""));
	svg.append(path);
	return el("figure", {}, el("b", {}, now), svg, el("figcaption", {}, name));
}

function sum(list, key) {
	return list.reduce((n, c) => n + ((c.disk || {})[key] || 0), 0);
}

function note(s) {
	const now = {t: performance.now(), read: sum(s.clients, "read_bytes"), written: sum(s.clients, "written_bytes"),
		running: s.clients.filter((c) => c.state === "running").length};
	const last = history[history.length - 1];
	const dt = last ? (now.t - last.t) / 1000 : 0;
	now.readRate = dt > 0 ? Math.max(0, (now.read - last.read) / dt) : 0;
	now.writeRate = dt > 0 ? Math.max(0, (now.written - last.written) / dt) : 0;
	history.push(now);
	if (history.length > KEPT)
		history.shift();
	return now;
}

function drawCharts(s) {
	const now = note(s);
	const parts = [
		chart("PCs running", String(now.running), history.map((h) => h.running)),
		chart("read by PCs", bytes(Math.round(now.readRate)) + "/s", history.map((h) => h.readRate)),
		chart("written by PCs", bytes(Math.round(now.writeRate)) + "/s", history.map((h) => h.writeRate)),
	];
	if (s.store) {
		const used = s.store.used_bytes / Math.max(s.store.size_bytes, 1);
		parts.push(el("figure", {}, el("b", {}, Math.round(100 * used) + " %"),
			el("meter", {min: 0, max: 1, high: 0.8, value: used}),
			el("figcaption", {}, "write-back store: " + bytes(s.store.used_bytes) + " of " + bytes(s.store.size_bytes))));
	}
	$("charts").replaceChildren(...parts);
}

function draw(s) {
	const text = $("find").value;
	const shown = s.clients.filter((c) => matches(c, text));
	document.title = s.server.name || "bootwell";
	$("server").textContent = s.server.name || "bootwell";
	$("facts").textContent = "bootwell " + s.server.version + " · DHCP " + s.dhcp.mode + " · " + s.dhcp.leases +
		" of " + s.dhcp.addresses + " addresses leased · targets " + (s.server.targets ? "on" : "off");
	$("problems").replaceChildren(...s.problems.map((p) => el("li", {}, p)));
	$("client-count").textContent = s.clients.length ? "(" + s.clients.length + ")" : "";
	$("clients").hidden = !s.clients.length;
	$("no-clients").hidden = s.clients.length > 0;
	$("clients").tBodies[0].replaceChildren(...shown.map(clientRow));
	$("images").tBodies[0].replaceChildren(...s.images.map((i) => el("tr", {class: i.current ? "" : "gone"},
		el("td", {}, el("b", {}, i.name)), el("td", {class: "n"}, String(i.generation)), el("td", {}, i.file),
		el("td", {}, i.format), el("td", {class: "n"}, bytes(i.size_bytes)), el("td", {}, i.in_use ? "yes" : ""))));
	$("log").replaceChildren(...s.log.map((line) => el("li", {}, line)));
	$("operator").hidden = false;
	$("operator").textContent = token ? "Operator: leave" : "Operator";
	document.body.classList.toggle("operator", token !== "");
	drawCharts(s);
}

async function api(method, path, body) {
	const r = await fetch(path, {method, headers: {Authorization: "Bearer " + token, "Content-Type": "application/json"},
		body: body ? JSON.stringify(body) : undefined});
	const answer = await r.json().catch(() => ({}));
	if (!r.ok)
		throw new Error(answer.error || "the server answered " + r.status);
	return answer;
}

async function attempt(what) {
	try {
		await what();
		$("edit").close();
		refresh();
	} catch (e) {
		$("edit-error").textContent = e.message;
	}
}

function edit(c) {
	const names = [...new Set(status.images.map((i) => i.name))];
	const path = "/api/clients/" + encodeURIComponent(c.name);
	$("edit-name").textContent = c.name;
	$("edit-error").textContent = "";
	$("edit-image").replaceChildren(el("option", {value: ""}, "as configured"), ...names.map((n) => el("option", {value: n}, n)));
	$("edit-keep").value = "";
	$("edit-save").onclick = () => attempt(() => api("PATCH", path, {image: $("edit-image").value,
		keep: {"true": true, "false": false}[$("edit-keep").value] ?? null}));
	$("edit-wake").onclick = () => attempt(() => api("POST", path + "/wake"));
	$("edit").showModal();
}

async function refresh() {
	try {
		const r = await fetch("/status", {cache: "no-store"});
		status = await r.json();
		draw(status);
		document.body.classList.remove("gone");
	} catch (e) {
		document.body.classList.add("gone");
		$("problems").replaceChildren(el("li", {}, "The server does not answer; what is shown is old. Trying again."));
	}
}

$("operator").addEventListener("click", () => {
	token = token ? "" : (prompt("Operator token ([http] token in bootwell.conf)") || "");
	token ? sessionStorage.setItem("token", token) : sessionStorage.removeItem("token");
	if (status)
		draw(status);
});
$("find").addEventListener("input", () => status && draw(status));
refresh();
setInterval(refresh, 2000);
