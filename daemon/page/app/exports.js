// Sessions as files, as the server writes them.

import { h } from "./dom.js";

/** Every format, as the end of the file's name. */
export const FORMATS = ["txt", "md", "csv", "rttm", "json", "srt", "vtt"];

/** What the kept audio is saved as. */
export const AUDIO = "opus";

/** Gets a session from the server and lets the browser save it. */
export async function save(app, session, format) {
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
