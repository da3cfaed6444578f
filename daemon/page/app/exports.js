// Sessions as files, as the server writes them.

import { attribute, button, h, text } from "./dom.js";
import { t } from "./texts/index.js";

/** Every format, as the end of the file's name. */
const FORMATS = ["txt", "md", "csv", "rttm", "json", "srt", "vtt"];

/** What the kept audio is saved as. */
const AUDIO = "opus";

/** Gets a session from the server and lets the browser save it. */
async function save(app, session, format) {
    try {
        const { api } = app.store;
        const blob = format === AUDIO ? await api.audio(session) : await api.exported(session, format);
        const url = URL.createObjectURL(blob);
        const link = h("a", { href: url, download: `${session}.${format}` });
        document.body.append(link);
        link.click();
        link.remove();
        setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
        app.sayFault(error);
    }
}

/** A button for each format of a session and, where `hasAudio`, one for its kept audio; `idOf()` is the session's id. */
export function exportButtons(app, idOf, { hasAudio = false } = {}) {
    const name = h("span", { class: "eyebrow" });
    const formats = hasAudio ? [...FORMATS, AUDIO] : FORMATS;
    const buttons = formats.map((format) => button("button small", () => void save(app, idOf(), format), format.toUpperCase()));
    return {
        element: h("span", { class: "exports" }, name, ...buttons),
        /** `session` is what screen readers call the session. */
        update(session, canPlay = false) {
            text(name, t("sessions.export"));
            buttons.forEach((one, idx) => {
                attribute(one, "aria-label", t("sessions.exportAs", { session, format: formats[idx].toUpperCase() }));
                attribute(one, "hidden", formats[idx] === AUDIO && !canPlay);
            });
        },
    };
}
