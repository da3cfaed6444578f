// Playing kept audio: what views and keys ask of the player, and the bar of what is played.

import { attribute, button, h, icon, text } from "./dom.js";
import { clock, t } from "./texts/index.js";
import { bestMoments } from "./audio/player.js";

const RATES = [0.75, 1, 1.25, 1.5, 2];
/** Seconds that an arrow key goes. */
const STEP_S = 5;

/** Whether there is something to listen to in what is followed. */
export function canPlay(followed) {
    return Boolean(followed?.model.audioKept) && !followed.isForgotten;
}

/** What the page plays of the session that is followed, and the bar that shows it. */
export function playing(app) {
    const { player, store } = app;

    /** The turn that is played now, if it is in what is followed. */
    function segmentNow() {
        const { followed } = store;
        if (player.session === undefined || followed?.id !== player.session) return undefined;
        const { position } = player;
        let now;
        for (const segment of followed.model.segments.values()) {
            if (segment.start <= position && position < segment.end && (!now || segment.start >= now.start)) now = segment;
        }
        return now;
    }

    /** Plays what is followed from a second on, or a part of it. */
    function play(start, end) {
        const { followed } = store;
        if (!canPlay(followed)) return;
        void player.play(followed.id, [{ start, end: end ?? Math.max(followed.model.heard, start + 1) }]);
    }

    /** Plays the best moments of a speaker. */
    function whoIs(speaker) {
        const { followed } = store;
        const moments = bestMoments(followed.model, speaker);
        if (canPlay(followed) && moments.length > 0) void player.play(followed.id, moments);
    }

    /** Pauses, goes on, or begins: at `start` where a view has a place for it, else at the beginning. */
    function space(start = 0) {
        if (player.session === undefined) play(start);
        else player.toggle();
    }

    /** Acts on a key; whether it did. */
    function key(event) {
        if (event.target.closest?.("[role=application]")) return false;
        const isOn = player.session !== undefined;
        if (event.key === " " && !event.target.closest?.("button, a, summary")) {
            if (!isOn && !canPlay(store.followed)) return false;
            space();
        } else if (isOn && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
            const by = event.key === "ArrowLeft" ? -STEP_S : STEP_S;
            void player.seek(Math.max(0, player.position + by));
        } else {
            return false;
        }
        event.preventDefault();
        return true;
    }

    return { ...playingBar(app, segmentNow), play, whoIs, space, key, segmentNow };
}

/** The bar: pause, position, speed, end. */
function playingBar({ player, store }, segmentNow) {
    const toggle = button("icon-button", () => player.toggle());
    const who = h("span", { class: "playing-who ellipsis" });
    const time = h("span", { class: "digits" });
    const seek = h("input", { type: "range", min: "0", step: "0.1", on: { input: () => void player.seek(Number(seek.value)) } });
    const rate = h("select", { on: { change: () => player.setRate(Number(rate.value)) } },
        ...RATES.map((one) => h("option", { value: String(one), selected: one === 1 }, `${one}×`)));
    const close = button("icon-button", () => player.stop(), icon("close"));
    const element = h("div", { class: "playing", role: "region", hidden: true }, toggle, who, seek, time, rate, close);
    let isShownPlaying;

    function update() {
        const isOn = player.session !== undefined;
        attribute(element, "hidden", !isOn);
        if (!isOn) return;
        const { position, isPlaying } = player;
        if (isShownPlaying !== isPlaying) {
            isShownPlaying = isPlaying;
            toggle.replaceChildren(icon(isPlaying ? "pause" : "play"));
        }
        attribute(toggle, "aria-label", t(isPlaying ? "play.pause" : "play.go"));
        const { followed } = store;
        const segment = segmentNow();
        text(who, player.isLoading ? t("play.loading") : segment ? followed.model.nameOf(segment.speaker) : "");
        const whole = followed?.id === player.session ? Math.max(followed.model.heard, position) : player.end;
        text(time, `${clock(position, 1)} / ${clock(whole)}`);
        attribute(seek, "max", whole.toFixed(1));
        attribute(seek, "aria-valuetext", clock(position, 1));
        if (document.activeElement !== seek || isPlaying) seek.value = position.toFixed(1);
    }

    function words() {
        attribute(element, "aria-label", t("play.label"));
        attribute(seek, "aria-label", t("play.position"));
        attribute(rate, "aria-label", t("play.rate"));
        attribute(rate, "title", t("play.rate"));
        attribute(close, "aria-label", t("play.stop"));
        isShownPlaying = undefined;
    }

    words();
    return { element, update, words };
}
