// What runs and what has ended: open, export, end, delete.

import { confirmation } from "../confirmation.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
import { clock, known, locale, t } from "../texts/index.js";

const FORMATS = ["rttm", "json", "srt", "vtt", "txt"];
const COLUMNS = ["source", "began", "length", "speakers", "followers"];

export function sessionsView(app) {
    const { store } = app;
    const title = h("h1", {});
    const none = h("p", { class: "quiet", hidden: true });
    const list = h("ul", { class: "sessions-list" });
    const confirm = confirmation("confirm-session");
    const element = h("section", { class: "view sessions" }, h("div", { class: "view-head" }, title), none, list,
        confirm.element);

    function row({ session }) {
        const parts = {
            open: h("a", { class: "session-name" }),
            chip: h("span", { class: "chip" }),
            reason: h("span", { class: "quiet ellipsis" }),
            exportName: h("span", { class: "eyebrow" }),
            exports: FORMATS.map((format) => h("button", {
                type: "button", class: "button small", on: { click: () => save(session, format) },
            }, format.toUpperCase())),
            remove: h("button", { type: "button", class: "button small danger", on: { click: () => ask(session) } }),
            values: {},
        };
        const facts = h("dl", { class: "facts" }, ...COLUMNS.map((key) => {
            parts.values[key] = [h("dt", {}), h("dd", {})];
            return h("div", {}, ...parts.values[key]);
        }));
        const item = h("li", { class: "card session-row" },
            h("div", { class: "session-head" }, parts.open, parts.chip, parts.reason),
            facts,
            h("div", { class: "acts" }, h("span", { class: "exports" }, parts.exportName, ...parts.exports), parts.remove));
        return Object.assign(item, { parts });
    }

    function show(item, s) {
        const { parts } = item;
        text(parts.open, s.session);
        attribute(parts.open, "href", `#/timeline?session=${encodeURIComponent(s.session)}`);
        attribute(item, "data-followed", store.followed?.id === s.session ? "" : undefined);
        text(parts.chip, t(s.live ? "session.live" : "session.ended"));
        attribute(parts.chip, "data-live", s.live ? "" : undefined);
        text(parts.reason, s.live ? "" : known("reason", s.reason));
        const began = new Date(s.began_unix_s * 1000);
        const isToday = began.toDateString() === new Date().toDateString();
        const values = {
            source: known("session", s.source),
            began: began.toLocaleString(locale(), isToday
                ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
                : { dateStyle: "medium", timeStyle: "short" }),
            length: clock(s.duration_s),
            speakers: String(s.speakers),
            followers: String(s.subscribers),
        };
        for (const [key, [term, value]] of Object.entries(parts.values)) {
            text(term, t(`sessions.${key}`));
            text(value, values[key]);
        }
        text(parts.exportName, t("sessions.export"));
        parts.exports.forEach((button, idx) => {
            const format = FORMATS[idx].toUpperCase();
            attribute(button, "aria-label", t("sessions.exportAs", { session: s.session, format }));
        });
        const word = t(s.live ? "sessions.end" : "sessions.delete");
        if (parts.remove.dataset.word !== word) {
            parts.remove.dataset.word = word;
            parts.remove.replaceChildren(icon(s.live ? "stop" : "trash"), word);
        }
        attribute(parts.remove, "aria-label", `${word}: ${s.session}`);
    }

    async function save(session, format) {
        try {
            const blob = await store.api.exported(session, format);
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

    async function ask(session) {
        const listed = store.sessions.find((s) => s.session === session);
        if (!listed) return;
        const [question, word, done] = listed.live
            ? ["sessions.confirmEnd", "sessions.end", "sessions.endedNow"]
            : ["sessions.confirmDelete", "sessions.delete", "sessions.deleted"];
        if (!await confirm.ask(t(question, { session }), t(word))) return;
        try {
            await store.delete(session);
            app.say(t(done, { session }));
        } catch (error) {
            app.sayFault(error);
        }
    }

    function update() {
        const all = [...store.sessions].sort((a, b) => b.live - a.live || b.began_unix_s - a.began_unix_s);
        attribute(none, "hidden", all.length > 0 || !store.hasAnswered);
        keyed(list, all, (s) => s.session, row, show);
    }

    function words() {
        text(title, t("sessions.title"));
        text(none, t("sessions.none"));
        confirm.words();
    }

    words();
    return { element, update, words };
}
