// SPDX-License-Identifier: GPL-2.0-or-later
export const $ = (id) => document.getElementById(id);

// An element; children that are strings become text, never markup. `on...` are listeners, `width` a style.
export function el(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attributes || {}))
		if (k.startsWith("on"))
			e.addEventListener(k.slice(2), v);
		else if (k === "width")
			e.style.width = v;
		else
			e.setAttribute(k, v);
	e.append(...children.filter((c) => c !== null && c !== undefined));
	return e;
}

export function bytes(n) {
	if (n === undefined || n === null)
		return "";
	for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
		if (n < 1024 || unit === "TiB")
			return (unit === "B" ? n : n.toFixed(n < 10 ? 1 : 0)) + " " + unit;
		n /= 1024;
	}
}

export function ago(time) {
	const s = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
	for (const [unit, n] of [["day", 86400], ["hour", 3600], ["minute", 60]])
		if (s >= n) {
			const count = Math.floor(s / n);
			return count + " " + unit + (count === 1 ? "" : "s") + " ago";
		}
	return "a moment ago";
}
