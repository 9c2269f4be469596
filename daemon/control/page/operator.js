// SPDX-License-Identifier: GPL-2.0-or-later
// What an operator may change. Each change carries the token in a header: a page of another origin can neither read it
// nor send it, so there is nothing for a forged request to use.
import {$, el} from "./tools.js";

let token = sessionStorage.getItem("token") || "", refresh = () => {};

// The header for who has logged in.
export const authorization = () => (token ? {Authorization: "Bearer " + token} : {});

async function api(method, path, body) {
	const r = await fetch(path, {method, headers: {...authorization(), "Content-Type": "application/json"},
		body: body ? JSON.stringify(body) : undefined});
	const answer = await r.json().catch(() => ({}));
	if (!r.ok)
		throw new Error(answer.error || "the server answered " + r.status);
	return answer;
}

function show() {
	document.body.classList.toggle("operator", token !== "");
	$("operator").textContent = token ? "Leave operator mode" : "Operator";
}

function openDialog(dialog) {
	dialog.querySelector(".error").textContent = "";
	dialog.showModal();
}

// Does it, closes the dialog; or says in the dialog why not.
async function attempt(dialog, what) {
	const buttons = dialog.querySelectorAll("button");
	buttons.forEach((b) => (b.disabled = true));
	try {
		await what();
		dialog.close();
	} catch (e) {
		dialog.querySelector(".error").textContent = e.message;
	}
	buttons.forEach((b) => (b.disabled = false));
	refresh();
}

function ask(text, yes) {
	$("ask-text").textContent = text;
	$("ask-yes").textContent = yes;
	$("ask").showModal();
	return new Promise((done) => {
		const end = (answer) => () => ($("ask").close(), done(answer));
		$("ask-yes").onclick = end(true);
		$("ask-no").onclick = $("ask").oncancel = end(false);
	});
}

const option = (value, text) => el("option", {value}, text);
const imagePath = (name) => "/api/images/" + encodeURIComponent(name);

// --- a PC -----------------------------------------------------------------------------------------------------------
export function edit(status, c) {
	const names = [...new Set(status.images.map((i) => i.name))], path = "/api/clients/" + encodeURIComponent(c.name);
	const own = c.own || {}, image = own.image || "", keep = own.keep === null || own.keep === undefined ? "" : String(own.keep);
	const session = c.update_image || "", taken = new Set(status.clients.map((o) => o.update_image).filter(Boolean));
	$("edit-title").textContent = c.name;
	$("edit-image").replaceChildren(option("", "as configured"), ...names.map((n) => option(n, n)));
	$("edit-image").value = image;
	$("edit-keep").value = keep;
	$("edit-session").replaceChildren(...(session ? [option("", "updates " + session)] :
		[option("", "none"), ...names.filter((n) => !taken.has(n)).map((n) => option(n, "update " + n))]));
	$("edit-session").value = "";
	$("edit-session").disabled = Boolean(session) || c.state === "running";
	$("edit-session-why").textContent = session ? "Commit or end it at the image." : c.state === "running" ? "Switch the PC off to begin one." :
		"Its next start works on the image itself, in a write-back of its own; then commit it.";
	$("edit-save").onclick = () => attempt($("edit"), async () => {
		const change = {};
		if ($("edit-image").value !== image)
			change.image = $("edit-image").value;
		if ($("edit-keep").value !== keep)
			change.keep = {"true": true, "false": false}[$("edit-keep").value] ?? null;
		if (Object.keys(change).length)
			await api("PATCH", path, change);
		if ($("edit-session").value)
			await api("POST", imagePath($("edit-session").value) + "/session", {client: c.name});
	});
	$("edit-wake").onclick = () => attempt($("edit"), () => api("POST", path + "/wake"));
	openDialog($("edit"));
}

// --- an image -------------------------------------------------------------------------------------------------------
export function editImage(status, name) {
	const all = status.images.filter((i) => i.name === name), now = all.find((i) => i.current);
	const session = status.clients.find((c) => c.update_image === name), commit = status.commit;
	const busy = Boolean(commit && commit.image === name && !["done", "failed"].includes(commit.state));
	$("image-title").textContent = name;
	$("image-session").textContent = busy ? "It is being committed." : session ? session.name + " updates it. A commit makes what it wrote the next generation" +
		(session.state === "running" ? "; switch " + session.name + " off first." : ".") : "No PC updates it. A session begins at the PC.";
	$("image-back").replaceChildren(...all.map((i) => option(String(i.generation), "generation " + i.generation + (i.current ? " (as now)" : ""))));
	$("image-back").value = String(now.generation);
	$("image-back-label").hidden = all.length < 2;
	$("image-save").hidden = all.length < 2;
	$("image-end").hidden = $("image-commit").hidden = !session && !busy;
	$("image-end").textContent = busy ? "Stop the commit" : "End session";
	$("image-commit").disabled = busy;
	$("image-save").onclick = async () => {
		const generation = Number($("image-back").value);
		if (generation === now.generation)
			$("image").close();
		else if (await ask("From now on PCs start generation " + generation + " of " + name + " in place of " + now.generation + ". Those that run keep what they have.", "Change"))
			attempt($("image"), () => api("POST", imagePath(name) + "/rollback", {generation}));
	};
	$("image-commit").onclick = async () => {
		if (await ask("What " + session.name + " wrote becomes the next generation of " + name + ", and what PCs start from then on.", "Commit"))
			attempt($("image"), () => api("POST", imagePath(name) + "/commit", {}));
	};
	$("image-end").onclick = async () => {
		if (busy)
			attempt($("image"), () => api("DELETE", imagePath(name) + "/commit"));
		else if (await ask("What " + session.name + " wrote in this session is dropped.", "End session"))
			attempt($("image"), () => api("DELETE", imagePath(name) + "/session"));
	};
	openDialog($("image"));
}

// --- who is the operator --------------------------------------------------------------------------------------------
async function login() {
	token = ($("login-name").value ? $("login-name").value + ":" : "") + $("login-token").value;
	await attempt($("login"), async () => {
		try {
			await api("POST", "/api/operator");
		} catch (e) {
			token = "";
			throw new Error(/token/.test(e.message) && !/too many/.test(e.message) ? "this is not the operator's token" : e.message);
		}
		sessionStorage.setItem("token", token);
	});
	$("login-token").value = "";
	show();
}

// A token that is no longer right is not sent again.
export function refused() {
	if (!token)
		return;
	token = "";
	sessionStorage.removeItem("token");
	show();
}

export function operator(again) {
	refresh = again;
	document.querySelectorAll("[data-close]").forEach((b) => b.addEventListener("click", () => b.closest("dialog").close()));
	$("login").querySelector("form").addEventListener("submit", (e) => (e.preventDefault(), login()));
	$("operator").addEventListener("click", () => {
		if (!token)
			return openDialog($("login"));
		token = "";
		sessionStorage.removeItem("token");
		show();
	});
	show();
}
