// Who is speaking now, in type that a meeting room can read.

import { turns } from "../../client/index.js";
import { attribute, button, h, icon, keyed, text } from "../dom.js";
import { swatch } from "../swatch.js";
import { clock, number, percent, t } from "../texts/index.js";
import { Camera } from "../timeline/camera.js";
import { drawTimeline, fit } from "../timeline/draw.js";

const QUIETEST_DBFS = -60;
const RIBBON_S = 60;
const EARLIER = 4;
const LEAST_SCALE = 0.2;
/** Characters of the words below a name. */
const SAID_CHARS = 140;

/** Share of the meter that a level fills. */
function meter(dbfs) {
    return Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DBFS));
}

function person() {
    const parts = {
        band: swatch("now-band"),
        name: h("span", { class: "now-name" }),
        label: h("span", { class: "now-label" }),
        since: h("span", { class: "now-since" }),
        word: h("span", { class: "now-word" }),
        confidence: h("span", {}),
        bar: h("span", { class: "meter-fill" }),
        provisional: h("span", { class: "chip", hidden: true }),
        said: h("p", { class: "now-said", hidden: true }),
    };
    const element = h("li", { class: "now-person" },
        parts.band,
        h("div", { class: "now-who" },
            h("div", { class: "now-names" }, parts.name, parts.label),
            h("div", { class: "now-facts" },
                parts.since,
                h("span", { class: "now-confidence" },
                    h("span", { class: "meter", "aria-hidden": "true" }, parts.bar), parts.word, parts.confidence),
                parts.provisional),
            parts.said));
    return Object.assign(element, { parts });
}

export function nowView(app) {
    const { store } = app;
    const title = h("h1", { id: "now-title", class: "unseen" });
    const quiet = h("p", { class: "now-quiet" });
    const overlap = h("p", { class: "now-overlap", hidden: true });
    const where = h("span", { class: "now-where" });
    const full = button("button ghost", () => app.full.toggle());
    const turnsOf = cachedTurns();
    const people = peopleList(app, turnsOf);
    const level = levelMeter(app);
    const ribbon = lastMinute(app);
    const earlier = earlierTurns(app, turnsOf);
    const centre = h("div", { class: "now-centre" }, people.element, quiet);
    const stage = h("div", { class: "now-stage" }, h("div", { class: "now-top" }, where, overlap, full), centre, level.element);
    const element = h("section", { class: "view now", "aria-labelledby": "now-title" }, title, stage,
        h("div", { class: "now-below" }, ribbon.element, earlier.element));

    function words() {
        text(title, t("now.title"));
        text(overlap, t("now.overlap"));
        for (const part of [level, ribbon, earlier]) part.words();
        const word = t(app.full.isOn ? "now.leave" : "now.full");
        full.replaceChildren(icon(app.full.isOn ? "window" : "full"), h("span", { class: "wide" }, word));
        attribute(full, "aria-label", word);
    }

    function update(nowMs) {
        const { followed } = store;
        if (!followed) return;
        const now = followed.speaking(nowMs);
        const isSilent = now.segments.length === 0;
        text(where, `${followed.id} · ${clock(now.position)}`);
        attribute(stage, "data-colour", isSilent ? undefined : String(colourOf(now.segments[0].speaker)));
        people.update(followed.model, now);
        people.fit(centre);
        attribute(quiet, "hidden", !isSilent);
        text(quiet, t(silenceOf(followed, now, nowMs)));
        attribute(overlap, "hidden", !now.overlap || isSilent);
        level.update(followed, nowMs);
        ribbon.update(followed, now.position, nowMs);
        earlier.update(followed.model, now.segments);
    }

    words();
    return {
        element,
        needsSession: true,
        update,
        words,
        isAnimated: () => store.followed?.model.live === true,
        keys: { f: () => app.full.toggle() },
        hide: () => app.full.leave(),
    };
}

/** The turns of a session, computed once for each version of it. */
function cachedTurns() {
    let held = { version: -1 };
    return (model) => {
        if (held.model !== model || held.version !== model.version) {
            held = { model, version: model.version, all: turns(model.segments.values()) };
        }
        return held.all;
    };
}

/** Those who speak now. */
function peopleList({ settings }, turnsOf) {
    const element = h("ol", { class: "now-people" });
    let shown = "";
    let fitted = "";

    function turnStart(model, segment) {
        const turn = turnsOf(model).findLast((one) => one.speaker === segment.speaker);
        return turn && turn.end >= segment.start ? turn.start : segment.start;
    }

    function update(model, { segments, position }) {
        keyed(element, segments, (s) => s.speaker, person, (row, segment) => {
            const spoken = Math.max(0, position - turnStart(model, segment));
            showPerson(row, segment, { name: model.nameOf(segment.speaker), said: model.textOf(segment.id), spoken, shade: settings.shade });
        });
        attribute(element, "data-n", Math.min(3, segments.length));
        shown = segments.map((segment) => `${model.nameOf(segment.speaker)} ${segment.final}`).join();
    }

    /** Makes names smaller until all of them are in sight in `box`; measured only when something has changed. */
    function fitInto(box) {
        const key = `${shown} ${box.clientWidth} ${box.clientHeight}`;
        if (key === fitted) return;
        fitted = key;
        let scale = 1;
        do {
            element.style.setProperty("--scale", scale.toFixed(3));
            scale *= 0.88;
        } while (element.scrollHeight > box.clientHeight && scale > LEAST_SCALE);
    }

    return { element, update, fit: fitInto };
}

/** `spoken`: seconds since the turn began. */
function showPerson({ parts }, segment, { name, said, spoken, shade }) {
    parts.band.paint(shade, segment.speaker);
    text(parts.name, name);
    attribute(parts.name, "data-length", name.length > 22 ? "long" : name.length > 11 ? "middle" : undefined);
    text(parts.label, name === segment.speaker ? "" : segment.speaker);
    text(parts.since, t("now.for", { time: clock(spoken) }));
    text(parts.word, t("now.confidence"));
    text(parts.confidence, percent(segment.confidence));
    parts.bar.style.setProperty("--share", String(segment.confidence));
    text(parts.provisional, t("now.provisional"));
    attribute(parts.provisional, "hidden", segment.final);
    const words = lastWords(said);
    text(parts.said, words);
    attribute(parts.said, "hidden", words === "");
}

function silenceOf(followed, now, nowMs) {
    if (!followed.model.live) return "now.ended";
    const blindness = followed.blindness(nowMs);
    if (blindness) return `now.${blindness}`;
    return now.isSomebody ? "now.somebody" : "now.nobody";
}

/** How loud the audio is. */
function levelMeter(app) {
    const bar = h("span", { class: "meter-fill" });
    const value = h("output", { class: "now-level-text" });
    const name = h("span", { class: "quiet" });
    const element = h("div", { class: "now-level" }, name, h("span", { class: "meter now-meter", "aria-hidden": "true" }, bar), value);
    let shown = 0;

    /** What this device captures is known at once; of other sources the server reports it every two seconds. */
    function levelOf(followed, nowMs) {
        if (!followed.model.live) return undefined;
        const isOwn = app.listening.microphone.publisher?.session === followed.id;
        const reported = followed.blindness(nowMs) ? undefined : followed.model.stats?.level_dbfs;
        return (isOwn ? app.listening.level : undefined) ?? reported;
    }

    function update(followed, nowMs) {
        const dbfs = levelOf(followed, nowMs);
        const wanted = dbfs === undefined ? 0 : meter(dbfs);
        shown += (wanted - shown) * (app.settings.isStill ? 1 : 0.18);
        bar.style.setProperty("--share", shown.toFixed(3));
        text(value, dbfs === undefined ? "–" : t("unit.dbfs", { n: number(Math.max(-99, dbfs)) }));
    }

    return { element, update, words: () => text(name, t("now.level")) };
}

/** The lanes of the last minute. */
function lastMinute(app) {
    const { settings } = app;
    const canvas = h("canvas", { class: "ribbon-canvas", "aria-hidden": "true" });
    const title = h("h2", { class: "eyebrow" });
    const camera = new Camera({ span: RIBBON_S });

    function update(followed, position, nowMs) {
        const { clientWidth: width, clientHeight: height } = canvas;
        if (width === 0) return;
        camera.resize(width);
        camera.follow(position);
        const pen = fit(canvas, width, height);
        const frame = app.ribbonOf(followed).frame(camera, {
            top: 2, height: height - 4, minHeight: 3, maxHeight: 18, nowMs, isStill: settings.isStill, spacing: 90,
        });
        drawTimeline(pen, frame, camera, height, app.fills, { shade: settings.shade, axis: false });
    }

    return {
        element: h("div", { class: "card ribbon" }, title, canvas),
        update,
        words: () => text(title, t("now.minute")),
    };
}

/** The turns before those of the present speakers. */
function earlierTurns({ settings }, turnsOf) {
    const title = h("h2", { class: "eyebrow" });
    const list = h("ol", { class: "earlier" });

    function row() {
        const parts = { band: swatch(), name: h("span", { class: "ellipsis" }), time: h("span", { class: "digits" }) };
        return Object.assign(h("li", {}, parts.band, parts.name, parts.time), { parts });
    }

    function update(model, speaking) {
        const now = new Set(speaking.map((s) => s.speaker));
        const all = turnsOf(model);
        // The last turn of a present speaker is open.
        const rows = [];
        for (let i = all.length - 1; i >= 0 && rows.length < EARLIER; i -= 1) {
            if (!now.delete(all[i].speaker)) rows.push(all[i]);
        }
        keyed(list, rows, (turn) => `${turn.speaker}${turn.start}`, row, ({ parts }, turn) => {
            parts.band.paint(settings.shade, turn.speaker);
            text(parts.name, model.nameOf(turn.speaker));
            text(parts.time, clock(turn.end - turn.start));
        });
    }

    return { element: h("div", { class: "card" }, title, list), update, words: () => text(title, t("now.before")) };
}

/** The end of a text, cut between two words. */
function lastWords(said) {
    if (said.length <= SAID_CHARS) return said;
    const end = said.slice(-SAID_CHARS);
    return `… ${end.slice(end.indexOf(" ") + 1)}`;
}

/** Index of the speaker's colour, which the style sheet tints the stage with. */
function colourOf(label) {
    const n = Number(/(\d+)$/.exec(label)?.[1] ?? 1);
    return (Math.max(1, n) - 1) % 8;
}
