// Tells screen readers who speaks, once a change has lasted.

import { currentLanguage, t } from "./texts/index.js";

const LASTING_MS = 900;

export function announcer({ store }) {
    const region = document.getElementById("announcer");
    let said = "";
    let pending = "";
    let pendingAt = 0;

    return function announce() {
        const { followed } = store;
        const now = performance.now();
        const speakers = followed?.speaking(now).segments.map((s) => followed.model.nameOf(s.speaker)) ?? [];
        const key = speakers.join("\n");
        if (key !== pending) [pending, pendingAt] = [key, now];
        if (key === "" || key === said || now - pendingAt < LASTING_MS) return;
        said = key;
        const names = new Intl.ListFormat(currentLanguage()).format(speakers);
        region.textContent = t(speakers.length > 1 ? "now.saysBoth" : "now.says", { name: names, names });
    };
}
