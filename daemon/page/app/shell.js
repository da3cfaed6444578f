// What surrounds the views: navigation, the choice of session, the connection's state, choices, toasts.

import { attribute, h, icon, keyed, text } from "./dom.js";
import { LANGUAGES, known, t } from "./texts/index.js";
import { undoBar } from "./undo.js";

const TOAST_MS = 7000;
const NEWEST = "";

/** `help` is a button for the end of the side. */
export function shell(app, names, help) {
    const { store, settings } = app;
    const skip = h("a", { class: "skip", href: "#main" });
    skip.addEventListener("click", (event) => {
        event.preventDefault();
        main.focus();
    });
    const links = new Map(names.map((name) => {
        const link = h("a", { href: `#/${name}` }, icon(name), h("span", { class: "nav-name" }));
        return [name, link];
    }));
    const nav = h("nav", {}, h("ul", {}, ...[...links.values()].map((link) => h("li", {}, link))));
    const session = h("select", { id: "session", on: { change: () => chooseSession() } });
    const sessionName = h("label", { class: "unseen", for: "session" });
    const theme = h("select", { id: "theme", on: { change: () => setTheme() } });
    const themeName = h("label", { for: "theme" });
    const language = h("select", { id: "language", on: { change: () => setLanguage() } });
    const languageName = h("label", { for: "language" });
    const stateText = h("span", {});
    const retry = h("button", { type: "button", class: "button small", on: { click: () => tryNow() } });
    const state = h("div", { class: "state", role: "status" }, h("span", { class: "dot" }), stateText);
    const banner = h("div", { class: "banner", role: "alert", hidden: true }, h("span", {}), retry);
    const listening = h("a", { class: "listening-chip", href: "#/listen", hidden: true }, h("span", { class: "pulse" }),
        h("span", {}));
    const kept = h("span", { class: "kept-chip", hidden: true });
    const undo = undoBar(app);
    const emptyTitle = h("h1", {});
    const emptyText = h("p", {});
    const emptyLink = h("a", { class: "button primary", href: "#/listen" });
    const empty = h("section", { class: "view empty", hidden: true },
        h("div", { class: "empty-bars", "aria-hidden": "true" }, h("i"), h("i"), h("i")), emptyTitle, emptyText, emptyLink);
    const place = h("div", { class: "place" });
    const main = h("main", { id: "main", tabindex: "-1" }, banner, undo.element, empty, place);
    const toasts = h("div", { class: "toasts", role: "status" });
    document.body.append(
        skip,
        h("header", { class: "side" },
            h("a", { class: "brand", href: "#/now", "aria-label": "diarized" }, brand(), h("span", {}, "diarized")),
            h("div", { class: "session" }, sessionName, session),
            nav,
            h("div", { class: "side-end" }, kept, listening, state,
                h("div", { class: "choices" },
                    h("div", { class: "choice" }, themeName, theme),
                    h("div", { class: "choice" }, languageName, language),
                    help))),
        main,
        app.playing.element,
        toasts,
        h("div", { id: "announcer", class: "unseen", "aria-live": "polite", role: "log" }),
    );

    function chooseSession() {
        app.go(location.hash.replace(/^#\/?/, "").split("?")[0] || "now", session.value === NEWEST ? null : session.value);
    }

    function setTheme() {
        settings.setTheme(theme.value);
        app.refresh();
    }

    function setLanguage() {
        settings.setLanguage(language.value);
        app.refresh();
    }

    function tryNow() {
        store.followed?.subscription.retryNow();
        void store.poll();
    }

    function words() {
        text(skip, t("app.skip"));
        attribute(nav, "aria-label", t("nav.label"));
        for (const [name, link] of links) text(link.lastChild, t(`nav.${name}`));
        text(sessionName, t("session.choose"));
        text(themeName, t("theme.label"));
        text(languageName, t("language.label"));
        theme.replaceChildren(...["auto", "light", "dark"].map((one) => (
            h("option", { value: one, selected: one === settings.theme }, t(`theme.${one}`))
        )));
        language.replaceChildren(...Object.entries(LANGUAGES).map(([tag, texts]) => (
            h("option", { value: tag, lang: tag, selected: tag === settings.language }, texts.language)
        )));
        text(retry, t("state.retry"));
        undo.words();
        text(emptyLink, t("empty.listen"));
    }

    function update() {
        showSessions();
        const { kind, sentence, isTrouble } = connection(store);
        attribute(state, "data-kind", kind);
        text(stateText, isTrouble ? t("state.waiting") : sentence);
        attribute(banner, "hidden", !isTrouble);
        text(banner.firstChild, sentence);
        undo.update();
        const isKept = Boolean(store.followed?.hasSnapshot && store.followed.model.live && store.followed.model.audioKept);
        attribute(kept, "hidden", !isKept);
        if (isKept) text(kept, t("play.kept"));
        attribute(listening, "hidden", !app.listening.isOn);
        text(listening.lastChild, t(app.listening.isFileOnly ? "listen.sending" : "listen.active"));
        const who = store.followed?.hasSnapshot ? speaking(store.followed) : "";
        const title = who ? `${who} · diarized` : t("app.title");
        if (document.title !== title) document.title = title;
        for (const link of links.values()) {
            const view = link.getAttribute("href").replace(/\?.*$/, "");
            const query = store.chosen === undefined ? "" : `?session=${encodeURIComponent(store.chosen)}`;
            attribute(link, "href", `${view}${query}`);
        }
    }

    function showSessions() {
        const all = [{ session: NEWEST }, ...[...store.sessions].reverse()];
        const { followed, chosen } = store;
        if (chosen !== undefined && !all.some((s) => s.session === chosen)) all.push({ session: chosen, isGone: true });
        keyed(session, all, (s) => s.session, (s) => h("option", { value: s.session }), (option, s) => {
            if (s.session === NEWEST) {
                const isAuto = chosen === undefined && followed;
                text(option, isAuto ? t("session.newestIs", { session: followed.id }) : t("session.newest"));
            } else {
                text(option, s.isGone ? s.session : `${s.title ?? s.session} · ${t(s.live ? "session.live" : "session.ended")}`);
            }
        });
        const wanted = chosen ?? NEWEST;
        if (session.value !== wanted) session.value = wanted;
    }

    function showEmpty(isEmpty) {
        attribute(empty, "hidden", !isEmpty);
        attribute(place, "hidden", isEmpty);
        if (!isEmpty) return;
        const { key, text: words, hasLink } = emptiness(store);
        text(emptyTitle, t(key));
        text(emptyText, words);
        attribute(emptyLink, "hidden", !hasLink);
    }

    function show(name, element) {
        place.replaceChildren(element);
        for (const [one, link] of links) attribute(link, "aria-current", one === name ? "page" : undefined);
        attribute(main, "data-view", name);
        main.scrollTop = 0;
    }

    /** `action` is a button: its `word`, what it does, and for how long it is offered. */
    function toast(sentence, action) {
        const close = h("button", { type: "button", class: "icon-button", "aria-label": t("timeline.close") }, icon("close"));
        const element = h("div", { class: "toast" }, h("span", {}, sentence), close);
        const remove = () => element.remove();
        close.addEventListener("click", remove);
        if (action) {
            const button = h("button", { type: "button", class: "button small" }, action.word);
            button.addEventListener("click", () => {
                remove();
                action.act();
            });
            close.before(button);
        }
        setTimeout(remove, action?.ms ?? TOAST_MS);
        toasts.append(element);
        while (toasts.children.length > 3) toasts.firstChild.remove();
    }

    words();
    return { words, update, show, showEmpty, toast, takeBack: undo.send };
}

/** Why the connection is lost, in a sentence. */
function whyLost(state) {
    if (state?.reason === "restarting") return t("state.restarting");
    return state?.reason && state.reason !== "done" ? t("log.lostWhy", { reason: state.reason }) : t("state.waiting");
}

/** Why there is nothing to see. */
function emptiness(store) {
    const { refusal, followed } = store;
    if (store.isAway) return { key: "empty.away", text: t("empty.awayText") };
    if (refusal && !store.wantsToken) return { key: "empty.refused", text: refusal.reason };
    if (store.wantsToken) return { key: "state.unauthorised", text: "" };
    if (followed?.subscription.state.kind === "gone") return { key: "state.gone", text: t("empty.goneText") };
    if (followed?.subscription.state.kind === "refused") return { key: "empty.refused", text: followed.subscription.state.reason ?? "" };
    if (!store.hasAnswered || followed) return { key: "state.connecting", text: "" };
    return { key: "empty.title", text: t("empty.text"), hasLink: true };
}

/** The state of the connection as a word for the style sheet and a sentence for the person. */
export function connection(store) {
    const { followed } = store;
    if (store.wantsToken) return { kind: "trouble", sentence: t("state.unauthorised") };
    if (store.refusal) return { kind: "trouble", sentence: t("state.refused", { reason: store.refusal.reason }) };
    const state = followed?.subscription.state;
    if (store.isAway || state?.kind === "waiting") {
        const left = state?.kind === "waiting"
            ? Math.ceil((state.retryInMs - (performance.now() - followed.stateAt)) / 1000) : 0;
        const sentence = store.isAway && left > 1 ? t("state.waitingLong", { n: left }) : whyLost(state);
        return { kind: "trouble", sentence, isTrouble: true };
    }
    if (!state) return store.hasAnswered ? { kind: "open", sentence: t("state.open") } : { kind: "busy", sentence: t("state.connecting") };
    switch (state.kind) {
    case "open":
    case "ended":
        if (followed.model.live) return { kind: "open", sentence: t("state.open") };
        return followed.isForgotten
            ? { kind: "over", sentence: t("state.gone") }
            : { kind: "over", sentence: t("state.ended", { reason: known("reason", followed.model.reason) }) };
    case "gone":
        return { kind: "over", sentence: t("state.gone") };
    case "refused":
        return { kind: "trouble", sentence: t("state.refused", { reason: state.reason ?? state.code }) };
    case "unauthorised":
        return { kind: "trouble", sentence: t("state.unauthorised") };
    case "stopped":
        return { kind: "over", sentence: t("state.stopped") };
    default:
        return { kind: "busy", sentence: t("state.connecting") };
    }
}

function speaking(followed) {
    return followed.speaking(performance.now()).segments.map((s) => followed.model.nameOf(s.speaker)).join(" + ");
}

function brand() {
    const bars = h("span", { class: "brand-bars", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    return bars;
}
