// What surrounds the views: navigation, the choice of session, the connection's state, choices, toasts.

import { attribute, button, h, icon, keyed, text } from "./dom.js";
import { LANGUAGES, known, t } from "./texts/index.js";
import { toaster } from "./toasts.js";
import { undoBar } from "./undo.js";

const NEWEST = "";

/** `help` is a button for the end of the side. */
export function shell(app, names, help) {
    const { store } = app;
    const skip = h("a", { class: "skip", href: "#main", on: { click: skipSide } });
    const nav = navigation(store, names);
    const session = sessionChoice(app);
    const choices = deviceChoices(app, help);
    const state = connectionState(store);
    const chips = sendingChips(app);
    const undo = undoBar(app);
    const empty = emptyView(store);
    const place = h("div", { class: "place" });
    const main = h("main", { id: "main", tabindex: "-1" }, state.banner, undo.element, empty.element, place);
    const toasts = toaster();
    document.body.append(
        skip,
        h("header", { class: "side" },
            h("a", { class: "brand", href: "#/now", "aria-label": "diarized" }, brand(), h("span", {}, "diarized")),
            session.element, nav.element,
            h("div", { class: "side-end" }, ...chips.elements, state.element, choices.element)),
        main,
        app.playing.element,
        toasts.element,
        h("div", { id: "announcer", class: "unseen", "aria-live": "polite", role: "log" }),
    );

    function skipSide(event) {
        event.preventDefault();
        main.focus();
    }

    function words() {
        text(skip, t("app.skip"));
        for (const part of [nav, session, choices, state, undo, empty]) part.words();
    }

    function update() {
        for (const part of [nav, session, state, undo, chips]) part.update();
        const title = titleOf(store.followed);
        if (document.title !== title) document.title = title;
    }

    function showEmpty(isEmpty) {
        empty.update(isEmpty);
        attribute(place, "hidden", isEmpty);
    }

    function show(name, element) {
        place.replaceChildren(element);
        nav.mark(name);
        attribute(main, "data-view", name);
        main.scrollTop = 0;
    }

    words();
    return { words, update, show, showEmpty, toast: toasts.show, takeBack: undo.send };
}

/** The links to the views, each with the session that is chosen. */
function navigation(store, names) {
    const links = new Map(names.map((name) => [name, h("a", {}, icon(name), h("span", { class: "nav-name" }))]));
    const element = h("nav", {}, h("ul", {}, ...[...links.values()].map((link) => h("li", {}, link))));
    return {
        element,
        mark(current) {
            for (const [name, link] of links) attribute(link, "aria-current", name === current ? "page" : undefined);
        },
        update() {
            const query = store.chosen === undefined ? "" : `?session=${encodeURIComponent(store.chosen)}`;
            for (const [name, link] of links) attribute(link, "href", `#/${name}${query}`);
        },
        words() {
            attribute(element, "aria-label", t("nav.label"));
            for (const [name, link] of links) text(link.lastChild, t(`nav.${name}`));
        },
    };
}

/** The choice of the session to follow. */
function sessionChoice(app) {
    const { store } = app;
    const select = h("select", { id: "session", on: { change: choose } });
    const name = h("label", { class: "unseen", for: "session" });

    function choose() {
        const view = location.hash.replace(/^#\/?/, "").split("?")[0] || "now";
        app.go(view, select.value === NEWEST ? null : select.value);
    }

    function nameOf(listed) {
        const { followed, chosen } = store;
        if (listed.session === NEWEST) {
            const isAuto = chosen === undefined && followed;
            return isAuto ? t("session.newestIs", { session: followed.id }) : t("session.newest");
        }
        if (listed.isGone) return listed.session;
        return `${listed.title ?? listed.session} · ${t(listed.live ? "session.live" : "session.ended")}`;
    }

    function update() {
        const all = [{ session: NEWEST }, ...[...store.sessions].reverse()];
        const { chosen } = store;
        if (chosen !== undefined && !all.some((s) => s.session === chosen)) all.push({ session: chosen, isGone: true });
        keyed(select, all, (s) => s.session, (s) => h("option", { value: s.session }), (option, s) => text(option, nameOf(s)));
        const wanted = chosen ?? NEWEST;
        if (select.value !== wanted) select.value = wanted;
    }

    return { element: h("div", { class: "session" }, name, select), update, words: () => text(name, t("session.choose")) };
}

/** What a person chooses on this device: colours and language; and the button `help`. */
function deviceChoices(app, help) {
    const { settings } = app;
    const theme = h("select", { id: "theme" });
    const themeName = h("label", { for: "theme" });
    const language = h("select", { id: "language" });
    const languageName = h("label", { for: "language" });
    theme.addEventListener("change", () => {
        settings.setTheme(theme.value);
        app.refresh();
    });
    language.addEventListener("change", () => {
        settings.setLanguage(language.value);
        app.refresh();
    });
    return {
        element: h("div", { class: "choices" },
            h("div", { class: "choice" }, themeName, theme),
            h("div", { class: "choice" }, languageName, language),
            help),
        words() {
            text(themeName, t("theme.label"));
            text(languageName, t("language.label"));
            theme.replaceChildren(...["auto", "light", "dark"].map((one) => (
                h("option", { value: one, selected: one === settings.theme }, t(`theme.${one}`))
            )));
            language.replaceChildren(...Object.entries(LANGUAGES).map(([tag, texts]) => (
                h("option", { value: tag, lang: tag, selected: tag === settings.language }, texts.language)
            )));
        },
    };
}

/** The state of the connection, and a banner while it is lost. */
function connectionState(store) {
    const sentenceOf = h("span", {});
    const element = h("div", { class: "state", role: "status" }, h("span", { class: "dot" }), sentenceOf);
    const retry = button("button small", () => {
        store.followed?.subscription.retryNow();
        void store.poll();
    });
    const banner = h("div", { class: "banner", role: "alert", hidden: true }, h("span", {}), retry);
    return {
        element,
        banner,
        update() {
            const { kind, sentence, isTrouble } = connection(store);
            attribute(element, "data-kind", kind);
            text(sentenceOf, isTrouble ? t("state.waiting") : sentence);
            attribute(banner, "hidden", !isTrouble);
            text(banner.firstChild, sentence);
        },
        words: () => text(retry, t("state.retry")),
    };
}

/** Whether this device sends audio, and whether audio of the session is kept. */
function sendingChips({ listening, store }) {
    const kept = h("span", { class: "kept-chip", hidden: true });
    const sending = h("a", { class: "listening-chip", href: "#/listen", hidden: true }, h("span", { class: "pulse" }), h("span", {}));
    return {
        elements: [kept, sending],
        update() {
            const { followed } = store;
            attribute(kept, "hidden", !(followed?.hasSnapshot && followed.model.live && followed.model.audioKept));
            text(kept, t("play.kept"));
            attribute(sending, "hidden", !listening.isOn);
            text(sending.lastChild, t(listening.isFileOnly ? "listen.sending" : "listen.active"));
        },
    };
}

/** What stands in the place of a view that has no session to show. */
function emptyView(store) {
    const title = h("h1", {});
    const note = h("p", {});
    const link = h("a", { class: "button primary", href: "#/listen" });
    const element = h("section", { class: "view empty", hidden: true },
        h("div", { class: "empty-bars", "aria-hidden": "true" }, h("i"), h("i"), h("i")), title, note, link);
    return {
        element,
        update(isEmpty) {
            attribute(element, "hidden", !isEmpty);
            if (!isEmpty) return;
            const { key, text: words, hasLink } = emptiness(store);
            text(title, t(key));
            text(note, words);
            attribute(link, "hidden", !hasLink);
        },
        words: () => text(link, t("empty.listen")),
    };
}

/** The title of the window: who speaks, if somebody does. */
function titleOf(followed) {
    const who = followed?.hasSnapshot ? speaking(followed) : "";
    return who ? `${who} · diarized` : t("app.title");
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
    return h("span", { class: "brand-bars", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}
