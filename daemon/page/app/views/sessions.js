// What runs and what has ended: open, export, end, delete.

import { confirmation } from "../confirmation.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
import { FORMATS, save } from "../exports.js";
import { clock, known, locale, t } from "../texts/index.js";

/** So long a deletion can be taken back. */
const TAKE_BACK_MS = 6000;
const COLUMNS = ["source", "began", "length", "speakers", "followers"];

export function sessionsView(app) {
    const { store } = app;
    const title = h("h1", {});
    const search = h("input", { type: "search", id: "sessions-search", autocomplete: "off", on: { input: () => update() } });
    const searchLabel = h("label", { class: "unseen", for: "sessions-search" });
    const none = h("p", { class: "quiet", hidden: true });
    /** Sessions that are deleted in some seconds, by id. */
    const leaving = new Map();
    const list = h("ul", { class: "sessions-list" });
    const confirm = confirmation("confirm-session");
    const element = h("section", { class: "view sessions" }, h("div", { class: "view-head" }, title, searchLabel, search), none, list,
        confirm.element);

    function row({ session }) {
        const parts = {
            open: h("a", { class: "session-name" }),
            id: h("span", { class: "quiet ellipsis session-id" }),
            chip: h("span", { class: "chip" }),
            reason: h("span", { class: "quiet ellipsis" }),
            exportName: h("span", { class: "eyebrow" }),
            exports: FORMATS.map((format) => h("button", {
                type: "button", class: "button small", on: { click: () => void save(app, session, format) },
            }, format.toUpperCase())),
            field: h("input", { type: "text", maxlength: "200", autocomplete: "off" }),
            save: h("button", { type: "submit", class: "button primary small" }),
            cancel: h("button", { type: "button", class: "button small" }),
            retitle: h("button", { type: "button", class: "button small" }),
            remove: h("button", { type: "button", class: "button small danger", on: { click: () => ask(session) } }),
            values: {},
        };
        const facts = h("dl", { class: "facts" }, ...COLUMNS.map((key) => {
            parts.values[key] = [h("dt", {}), h("dd", {})];
            return h("div", {}, ...parts.values[key]);
        }));
        parts.form = h("form", { class: "rename", hidden: true }, parts.field, parts.save, parts.cancel);
        const edit = (isOn) => {
            attribute(parts.form, "hidden", !isOn);
            attribute(parts.retitle, "hidden", isOn);
            (isOn ? parts.field : parts.retitle).focus();
        };
        parts.retitle.addEventListener("click", () => {
            parts.field.value = store.sessions.find((s) => s.session === session)?.title ?? "";
            edit(true);
        });
        parts.cancel.addEventListener("click", () => edit(false));
        parts.field.addEventListener("keydown", (event) => {
            if (event.key === "Escape") edit(false);
        });
        parts.form.addEventListener("submit", (event) => {
            event.preventDefault();
            edit(false);
            void retitle(session, parts.field.value);
        });
        const item = h("li", { class: "card session-row" },
            parts.form, h("div", { class: "session-head" }, parts.open, parts.id, parts.chip, parts.reason),
            facts,
            h("div", { class: "acts" }, h("span", { class: "exports" }, parts.exportName, ...parts.exports), parts.retitle, parts.remove));
        return Object.assign(item, { parts });
    }

    function show(item, s) {
        const { parts } = item;
        text(parts.open, s.title ?? s.session);
        text(parts.id, s.title === undefined || s.title === s.session ? "" : s.session);
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
        const name = s.title ?? s.session;
        named(parts.retitle, t("sessions.retitle"), name);
        attribute(parts.field, "aria-label", t("sessions.titleLabel", { session: name }));
        text(parts.save, t("speakers.save"));
        text(parts.cancel, t("speakers.cancel"));
        const word = t(s.live ? "sessions.end" : "sessions.delete");
        named(parts.remove, word, name, s.live ? "stop" : "trash");
    }

    function named(button, word, name, sign = "edit") {
        if (button.dataset.word !== word) {
            button.dataset.word = word;
            button.replaceChildren(icon(sign), word);
        }
        attribute(button, "aria-label", `${word}: ${name}`);
    }

    async function retitle(session, title) {
        try {
            await store.api.correct(session, { type: "title", title });
            await store.poll();
        } catch (error) {
            app.sayFault(error);
        }
    }

    async function ask(session) {
        const listed = store.sessions.find((s) => s.session === session);
        if (!listed) return;
        const name = listed.title ?? session;
        if (!listed.live) {
            leave(session, name);
            return;
        }
        if (!await confirm.ask(t("sessions.confirmEnd", { session: name }), t("sessions.end"))) return;
        try {
            await store.delete(session);
            app.say(t("sessions.endedNow", { session: name }));
        } catch (error) {
            app.sayFault(error);
        }
    }

    /** Hides a session, and deletes it when nobody has taken that back in time. */
    function leave(session, name) {
        const timer = setTimeout(async () => {
            try {
                await store.delete(session);
            } catch (error) {
                app.sayFault(error);
            }
            leaving.delete(session);
            app.redraw();
        }, TAKE_BACK_MS);
        leaving.set(session, timer);
        const act = () => {
            clearTimeout(timer);
            leaving.delete(session);
            app.redraw();
        };
        app.say(t("sessions.deleted", { session: name }), { word: t("sessions.takeBack"), act, ms: TAKE_BACK_MS });
        app.redraw();
    }

    function update() {
        const wanted = search.value.trim().toLocaleLowerCase();
        const fits = (s) => !leaving.has(s.session)
            && [s.session, s.title ?? ""].some((one) => one.toLocaleLowerCase().includes(wanted));
        const all = store.sessions.filter(fits).sort((a, b) => b.live - a.live || b.began_unix_s - a.began_unix_s);
        attribute(none, "hidden", all.length > 0 || !store.hasAnswered);
        text(none, t(wanted === "" ? "sessions.none" : "sessions.notFound"));
        keyed(list, all, (s) => s.session, row, show);
    }

    function words() {
        text(title, t("sessions.title"));
        text(searchLabel, t("sessions.search"));
        attribute(search, "placeholder", t("sessions.search"));
        confirm.words();
    }

    words();
    return { element, update, words };
}
