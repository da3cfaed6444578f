// Who is speaking now, in type that a meeting room can read.

import { turns } from "../../client/index.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
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
    const { store, settings } = app;
    const people = h("ol", { class: "now-people" });
    const quiet = h("p", { class: "now-quiet" });
    const overlap = h("p", { class: "now-overlap", hidden: true });
    const level = h("span", { class: "meter-fill" });
    const levelText = h("output", { class: "now-level-text" });
    const levelMeter = h("span", { class: "meter now-meter", "aria-hidden": "true" }, level);
    const levelName = h("span", { class: "quiet" });
    const where = h("span", { class: "now-where" });
    const full = h("button", { type: "button", class: "button ghost", on: { click: () => app.full.toggle() } });
    const ribbon = h("canvas", { class: "ribbon-canvas", "aria-hidden": "true" });
    const minute = h("h2", { class: "eyebrow" });
    const before = h("h2", { class: "eyebrow" });
    const earlier = h("ol", { class: "earlier" });
    const centre = h("div", { class: "now-centre" }, people, quiet);
    const stage = h("div", { class: "now-stage" },
        h("div", { class: "now-top" }, where, overlap, full), centre,
        h("div", { class: "now-level" }, levelName, levelMeter, levelText));
    const element = h("section", { class: "view now", "aria-labelledby": "now-title" },
        h("h1", { id: "now-title", class: "unseen" }),
        stage,
        h("div", { class: "now-below" },
            h("div", { class: "card ribbon" }, minute, ribbon),
            h("div", { class: "card" }, before, earlier)));
    const camera = new Camera({ span: RIBBON_S });
    let shownLevel = 0;
    let fitted = "";
    let turnsOf = { version: -1, all: [] };

    function words() {
        text(element.querySelector("h1"), t("now.title"));
        text(levelName, t("now.level"));
        text(minute, t("now.minute"));
        text(before, t("now.before"));
        text(overlap, t("now.overlap"));
        const word = t(app.full.isOn ? "now.leave" : "now.full");
        full.replaceChildren(icon(app.full.isOn ? "window" : "full"), h("span", { class: "wide" }, word));
        attribute(full, "aria-label", word);
    }

    function update(nowMs) {
        const { followed } = store;
        if (!followed) return;
        const { model } = followed;
        const now = followed.speaking(nowMs);
        text(where, `${followed.id} · ${clock(now.position)}`);
        attribute(stage, "data-colour", now.segments[0] ? String(colourOf(now.segments[0].speaker)) : undefined);
        keyed(people, now.segments, (s) => s.speaker, person, (row, segment) => {
            const { parts } = row;
            const name = model.nameOf(segment.speaker);
            parts.band.paint(settings.shade, segment.speaker);
            text(parts.name, name);
            attribute(parts.name, "data-length", name.length > 22 ? "long" : name.length > 11 ? "middle" : undefined);
            text(parts.label, name === segment.speaker ? "" : segment.speaker);
            text(parts.since, t("now.for", { time: clock(Math.max(0, now.position - turnStart(model, segment))) }));
            text(parts.word, t("now.confidence"));
            text(parts.confidence, percent(segment.confidence));
            parts.bar.style.setProperty("--share", String(segment.confidence));
            text(parts.provisional, t("now.provisional"));
            attribute(parts.provisional, "hidden", segment.final);
            const said = lastWords(model.textOf(segment.id));
            text(parts.said, said);
            attribute(parts.said, "hidden", said === "");
        });
        attribute(people, "data-n", Math.min(3, now.segments.length));
        fitNames(now.segments.map((segment) => `${model.nameOf(segment.speaker)} ${segment.final}`).join());
        attribute(quiet, "hidden", now.segments.length > 0);
        text(quiet, t(silenceOf(followed, now, nowMs)));
        attribute(overlap, "hidden", !(now.overlap && now.segments.length > 0));
        showLevel(followed, nowMs);
        showRibbon(followed, now.position, nowMs);
        showEarlier(model, now.segments);
    }

    /** Makes names smaller until all of them are in sight; measured only when something has changed. */
    function fitNames(names) {
        const { clientWidth, clientHeight } = centre;
        const key = `${names} ${clientWidth} ${clientHeight}`;
        if (key === fitted) return;
        fitted = key;
        let scale = 1;
        do {
            people.style.setProperty("--scale", scale.toFixed(3));
            scale *= 0.88;
        } while (people.scrollHeight > centre.clientHeight && scale > LEAST_SCALE);
    }

    function silenceOf(followed, now, nowMs) {
        if (!followed.model.live) return "now.ended";
        const blindness = followed.blindness(nowMs);
        if (blindness) return `now.${blindness}`;
        return now.isSomebody ? "now.somebody" : "now.nobody";
    }

    function showLevel(followed, nowMs) {
        // What this device captures is known at once; of other sources the server tells every two seconds.
        const isOwn = app.listening.microphone.publisher?.session === followed.id;
        const told = followed.blindness(nowMs) ? undefined : followed.model.stats?.level_dbfs;
        const dbfs = followed.model.live ? (isOwn ? app.listening.level : undefined) ?? told : undefined;
        const wanted = dbfs === undefined ? 0 : meter(dbfs);
        shownLevel += (wanted - shownLevel) * (settings.isStill ? 1 : 0.18);
        level.style.setProperty("--share", shownLevel.toFixed(3));
        text(levelText, dbfs === undefined ? "–" : t("unit.dbfs", { n: number(Math.max(-99, dbfs)) }));
    }

    function showRibbon(followed, position, nowMs) {
        const { clientWidth: width, clientHeight: height } = ribbon;
        if (width === 0) return;
        camera.resize(width);
        camera.follow(position);
        const pen = fit(ribbon, width, height);
        const frame = app.ribbonOf(followed).frame(camera, {
            top: 2, height: height - 4, minHeight: 3, maxHeight: 18, nowMs, isStill: settings.isStill, spacing: 90,
        });
        drawTimeline(pen, frame, camera, height, app.fills, { shade: settings.shade, axis: false });
    }

    function turnStart(model, segment) {
        const turn = allTurns(model).findLast((one) => one.speaker === segment.speaker);
        return turn && turn.end >= segment.start ? turn.start : segment.start;
    }

    function allTurns(model) {
        if (turnsOf.model !== model || turnsOf.version !== model.version) {
            turnsOf = { model, version: model.version, all: turns(model.segments.values()) };
        }
        return turnsOf.all;
    }

    function showEarlier(model, speaking) {
        const now = new Set(speaking.map((s) => s.speaker));
        const all = allTurns(model);
        // The last turn of a present speaker is open.
        const rows = [];
        for (let i = all.length - 1; i >= 0 && rows.length < EARLIER; i -= 1) {
            if (!now.delete(all[i].speaker)) rows.push(all[i]);
        }
        keyed(earlier, rows, (turn) => `${turn.speaker}${turn.start}`, () => {
            const parts = { band: swatch(), name: h("span", { class: "ellipsis" }), time: h("span", { class: "digits" }) };
            return Object.assign(h("li", {}, parts.band, parts.name, parts.time), { parts });
        }, ({ parts }, turn) => {
            parts.band.paint(settings.shade, turn.speaker);
            text(parts.name, model.nameOf(turn.speaker));
            text(parts.time, clock(turn.end - turn.start));
        });
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
