// What runs and what has ended: open, export, end, delete.

import { confirmation } from "../confirmation.js";
import { attribute, button, h, keyed, label, text } from "../dom.js";
import { exportButtons } from "../exports.js";
import { factList } from "../facts.js";
import { nameForm } from "../renaming.js";
import { clock, known, locale, t } from "../texts/index.js";

/** So long a deletion can be taken back. */
const TAKE_BACK_MS = 6000;
const FACTS = {
    source: "sessions.source",
    began: "sessions.began",
    length: "sessions.length",
    speakers: "sessions.speakers",
    followers: "sessions.followers",
};

export function sessionsView(app) {
    const { store } = app;
    const title = h("h1", {});
    const search = h("input", { type: "search", id: "sessions-search", autocomplete: "off", on: { input: () => update() } });
    const searchLabel = h("label", { class: "unseen", for: "sessions-search" });
    const none = h("p", { class: "quiet", hidden: true });
    const list = h("ul", { class: "sessions-list" });
    const confirm = confirmation("confirm-session");
    const deletion = lateDeletion(app);
    const element = h("section", { class: "view sessions" }, h("div", { class: "view-head" }, title, searchLabel, search), none, list,
        confirm.element);
    const acts = { remove, retitle: (session, title) => void retitle(app, session, title) };

    /** Ends a session that runs, after a question; deletes one that has ended. */
    async function remove(session) {
        const listed = store.sessions.find((s) => s.session === session);
        if (!listed) return;
        const name = listed.title ?? session;
        if (!listed.live) {
            deletion.begin(session, name);
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

    function update() {
        const wanted = search.value.trim().toLocaleLowerCase();
        const fits = (s) => !deletion.hides(s.session)
            && [s.session, s.title ?? ""].some((one) => one.toLocaleLowerCase().includes(wanted));
        const all = store.sessions.filter(fits).sort((a, b) => b.live - a.live || b.began_unix_s - a.began_unix_s);
        attribute(none, "hidden", all.length > 0 || !store.hasAnswered);
        text(none, t(wanted === "" ? "sessions.none" : "sessions.notFound"));
        keyed(list, all, (s) => s.session, (s) => row(app, s, acts), (item, s) => show(item, s, store.followed?.id));
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

async function retitle(app, session, title) {
    try {
        await app.store.api.correct(session, { type: "title", title });
        await app.store.poll();
    } catch (error) {
        app.sayFault(error);
    }
}

/** Deletes sessions after some seconds in which that can be taken back; they are hidden at once. */
function lateDeletion(app) {
    /** Timers by session. */
    const leaving = new Map();

    function forget(session) {
        leaving.delete(session);
        app.redraw();
    }

    return {
        hides: (session) => leaving.has(session),
        begin(session, name) {
            const timer = setTimeout(async () => {
                try {
                    await app.store.delete(session);
                } catch (error) {
                    app.sayFault(error);
                }
                forget(session);
            }, TAKE_BACK_MS);
            leaving.set(session, timer);
            const act = () => {
                clearTimeout(timer);
                forget(session);
            };
            app.say(t("sessions.deleted", { session: name }), { word: t("sessions.takeBack"), act, ms: TAKE_BACK_MS });
            app.redraw();
        },
    };
}

/** `acts`: `remove(session)` and `retitle(session, title)`. */
function row(app, { session }, acts) {
    const titleOf = () => app.store.sessions.find((s) => s.session === session)?.title ?? "";
    const parts = {
        open: h("a", { class: "session-name" }),
        id: h("span", { class: "quiet ellipsis session-id" }),
        chip: h("span", { class: "chip" }),
        reason: h("span", { class: "quiet ellipsis" }),
        facts: factList(FACTS),
        exports: exportButtons(app, () => session),
        retitle: button("button small", () => parts.form.open(titleOf())),
        remove: button("button small danger", () => void acts.remove(session)),
        form: nameForm({ maxlength: "200" }, (title) => acts.retitle(session, title), (isOpen) => {
            attribute(parts.retitle, "hidden", isOpen);
            if (!isOpen) parts.retitle.focus();
        }),
    };
    const item = h("li", { class: "card session-row" },
        parts.form.element, h("div", { class: "session-head" }, parts.open, parts.id, parts.chip, parts.reason),
        parts.facts.element, h("div", { class: "acts" }, parts.exports.element, parts.retitle, parts.remove));
    return Object.assign(item, { parts });
}

function show(item, s, followed) {
    const { parts } = item;
    const name = s.title ?? s.session;
    text(parts.open, name);
    text(parts.id, name === s.session ? "" : s.session);
    attribute(parts.open, "href", `#/timeline?session=${encodeURIComponent(s.session)}`);
    attribute(item, "data-followed", followed === s.session ? "" : undefined);
    text(parts.chip, t(s.live ? "session.live" : "session.ended"));
    attribute(parts.chip, "data-live", s.live ? "" : undefined);
    text(parts.reason, s.live ? "" : known("reason", s.reason));
    parts.facts.update({
        // Where there are several, the node too.
        source: [known("session", s.source), s.node].filter((part) => part !== undefined).join(" · "),
        began: beginning(new Date(s.began_unix_s * 1000)),
        length: clock(s.duration_s),
        speakers: String(s.speakers),
        followers: String(s.subscribers),
    });
    parts.exports.update(s.session);
    label(parts.retitle, "edit", t("sessions.retitle"), name);
    parts.form.update(t("sessions.titleLabel", { session: name }));
    label(parts.remove, s.live ? "stop" : "trash", t(s.live ? "sessions.end" : "sessions.delete"), name);
}

/** A time of today, a date with a time of another day. */
function beginning(began) {
    const isToday = began.toDateString() === new Date().toDateString();
    return began.toLocaleString(locale(), isToday
        ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
        : { dateStyle: "medium", timeStyle: "short" });
}
