// Starts the page: joins what is known, what is shown and what is chosen, and draws when something changed.

import { announcer } from "./announcer.js";
import { Listening } from "./audio/listening.js";
import { Player } from "./audio/player.js";
import { FullScreen } from "./fullscreen.js";
import { keysHelp } from "./keys.js";
import { playing } from "./playing.js";
import { Settings } from "./settings.js";
import { shell } from "./shell.js";
import { Store } from "./store.js";
import { Fills } from "./swatch.js";
import { t } from "./texts/index.js";
import { TimelineModel } from "./timeline/model.js";
import { healthView } from "./views/health.js";
import { listenView } from "./views/listen.js";
import { loginView } from "./views/login.js";
import { nowView } from "./views/now.js";
import { sessionsView } from "./views/sessions.js";
import { speakersView } from "./views/speakers.js";
import { timelineView } from "./views/timeline.js";
import { turnsView } from "./views/turns.js";
import { Wake } from "./wake.js";

const VIEWS = {
    now: nowView,
    timeline: timelineView,
    turns: turnsView,
    speakers: speakersView,
    sessions: sessionsView,
    listen: listenView,
    health: healthView,
};

const settings = new Settings();
const store = new Store(document.baseURI.replace(/[?#].*$/, ""), settings);

/** What views share. */
const app = {
    settings,
    store,
    fills: new Fills(settings.shade),
    listening: new Listening(store.address),
    player: new Player(() => store.api, (error) => {
        app.say(error.status === 404 ? t("play.gone") : t("play.fault", { reason: error.message }));
    }),
    ribbons: new WeakMap(),
    full: new FullScreen(() => {
        views.now.words();
        schedule();
    }),

    /** The timeline of a followed session for small pictures, apart from that of the timeline's own view. */
    ribbonOf(followed) {
        let ribbon = this.ribbons.get(followed);
        if (!ribbon) {
            ribbon = new TimelineModel(followed.model);
            this.ribbons.set(followed, ribbon);
        }
        return ribbon;
    },

    /** Sends a correction, or says why not. */
    correct(message) {
        const { followed } = store;
        const isSent = followed?.canCorrect && followed.subscription.send(message);
        if (!isSent) this.say(t("fault.notSent"));
        return Boolean(isSent);
    },

    /** Shows a sentence for a while, also to screen readers. */
    say(sentence, action) {
        return frame.toast(sentence, action);
    },

    /** Says what went wrong. */
    sayFault(error) {
        if (error.isUnauthorised) this.say(t("login.forbidden"));
        else if (error.status === undefined && error.name === "ApiError") this.say(t("fault.away"));
        else this.say(t("fault.failed", { reason: error.message }));
    },

    /** Goes to a view, and with `session` to a session; `null` is the newest. */
    go(view, session) {
        const id = session === undefined ? store.chosen : session ?? undefined;
        location.hash = `#/${view}${id === undefined ? "" : `?session=${encodeURIComponent(id)}`}`;
    },

    /** Draws soon. */
    redraw: schedule,
};

app.playing = playing(app);
const login = loginView(app);
const keys = keysHelp(app);
const frame = shell(app, Object.keys(VIEWS), keys.opener);
const wake = new Wake();
const views = Object.fromEntries(Object.entries(VIEWS).map(([name, make]) => [name, make(app)]));
const announce = announcer(app);
let current;
let isScheduled = false;

function schedule() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(draw);
}

function draw(nowMs) {
    isScheduled = false;
    frame.update();
    app.playing.update();
    login.update();
    wake.want(app.full.isOn || app.listening.isOn);
    const view = views[current];
    const isEmpty = view.needsSession && !store.followed?.hasSnapshot;
    frame.showEmpty(isEmpty);
    if (!isEmpty) {
        view.update(nowMs);
        if (view.isAnimated?.() || app.player.isPlaying) schedule();
    }
}

function route() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const name = Object.hasOwn(VIEWS, path) ? path : "now";
    store.choose(new URLSearchParams(query).get("session") ?? undefined);
    if (name !== current) {
        views[current]?.hide?.();
        current = name;
        frame.show(name, views[name].element);
        views[name].show?.();
    }
    schedule();
}

/** Draws everything again, for example in another language or in other colours. */
app.refresh = () => {
    app.fills = new Fills(settings.shade);
    for (const part of [frame, app.playing, login, keys, ...Object.values(views)]) part.words?.();
    schedule();
};

document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, select, textarea, dialog");
    if (!isTyping && (event.ctrlKey || event.metaKey) && event.code === "KeyZ" && !event.altKey) {
        event.preventDefault();
        frame.takeBack(event.shiftKey ? "redo" : "undo");
        return;
    }
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!settings.hasKeys) return;
    const names = Object.keys(VIEWS);
    // The place of a letter counts: a Russian keyboard writes another one there.
    const letter = /^Key[A-Z]$/.test(event.code) ? event.code.at(-1).toLowerCase() : event.key;
    if (/^[1-9]$/.test(event.key) && names[event.key - 1]) app.go(names[event.key - 1]);
    else if (event.key === "?") keys.open();
    else if (app.playing.key(event)) return;
    else views[current].keys?.[letter]?.(event);
});

store.subscribe(schedule);
addEventListener("pagehide", () => app.listening.leave());
addEventListener("beforeunload", (event) => {
    // Browsers ask in their own words whether the page may go.
    if (app.listening.isOn) event.preventDefault();
});
store.onRefusal = (error) => app.say(t("fault.failed", { reason: error.reason }));
app.listening.subscribe(schedule);
app.player.subscribe(schedule);
settings.dark.addEventListener("change", () => {
    settings.apply();
    app.refresh();
});
addEventListener("hashchange", route);
addEventListener("resize", schedule);
setInterval(announce, 500);
route();
store.start();
void app.listening.takeUp(settings.microphone);
