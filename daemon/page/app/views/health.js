// How the connection, the session and the server are doing.

import { attribute, h, keyed, text } from "../dom.js";
import { connection } from "../shell.js";
import { clock, known, locale, number, t } from "../texts/index.js";
import { fit } from "../timeline/draw.js";

const EVERY_MS = 500;
const INK = Object.freeze({ light: "#1c1b19", dark: "#eef0f3" });

/** What is measured: its value now, how it is written, and the course it has taken, if it has one. */
const TILES = [
    { key: "connection", value: ({ store }) => connection(store).sentence },
    { key: "roundTrip", value: ({ store }) => write(store.roundTrip, (v) => t("unit.ms", { n: number(v) })) },
    { key: "lag", note: true, stat: "lag_s", value: (now) => seconds(now, "lag_s") },
    { key: "rtf", note: true, stat: "rtf", value: ({ stats }) => write(stats?.rtf, (v) => number(v, 3)) },
    { key: "dropped", note: true, stat: "dropped_s", value: (now) => seconds(now, "dropped_s") },
    { key: "skipped", note: true, value: ({ stats }) => write(stats && (stats.skipped_windows ?? 0), (v) => number(v)) },
    {
        key: "level", stat: "level_dbfs", floor: -60,
        value: ({ stats }) => write(stats?.level_dbfs, (v) => t("unit.dbfs", { n: number(v) })),
    },
    { key: "heard", value: ({ model }) => write(model?.heard, (v) => clock(v)) },
    { key: "events", value: ({ model }) => write(model?.seq, (v) => number(v)) },
    { key: "server", value: ({ store }) => write(store.server.version, (v) => `diarized ${v}`) },
    { key: "model", value: ({ store }) => write(store.server.model, String) },
    {
        key: "sessions",
        value: ({ store }) => {
            const live = store.sessions.filter((s) => s.live).length;
            return t("health.sessionsNow", { live, ended: store.sessions.length - live });
        },
    },
];

function write(value, how) {
    return value === undefined ? t("health.unknown") : how(value);
}

function seconds({ stats }, key) {
    return write(stats?.[key], (v) => t("unit.seconds", { n: number(v, 2) }));
}

export function healthView(app) {
    const { store, settings } = app;
    const title = h("h1", {});
    const logName = h("h2", {});
    const logEmpty = h("p", { class: "quiet" });
    const log = h("ol", { class: "log" });
    const metrics = h("a", { href: "metrics" });
    const tiles = TILES.map((measure) => {
        const [name, value, note] = [h("dt", {}), h("dd", {}), measure.note && h("dd", { class: "quiet" })];
        const course = measure.stat && h("canvas", { class: "spark", "aria-hidden": "true" });
        const element = h("div", { class: "tile" }, name, value, note, course && h("dd", {}, course));
        return { measure, name, value, note, course, element };
    });
    const element = h("section", { class: "view health" }, h("div", { class: "view-head" }, title, metrics),
        h("dl", { class: "card tiles" }, ...tiles.map((tile) => tile.element)),
        h("div", { class: "card" }, logName, logEmpty, log));
    let drawnAt = -Infinity;

    function update(nowMs) {
        if (nowMs - drawnAt < EVERY_MS) return;
        drawnAt = nowMs;
        const { followed } = store;
        const now = { store, model: followed?.model, stats: followed?.model.stats };
        for (const tile of tiles) {
            text(tile.value, tile.measure.value(now));
            if (tile.course) drawCourse(tile.course, tile.measure, followed?.history ?? [], INK[settings.shade]);
        }
        // A link shows no token, so it would lead to a refusal.
        attribute(metrics, "hidden", store.address.token !== undefined);
        attribute(logEmpty, "hidden", store.log.length > 0);
        keyed(log, store.log, (entry) => entry, () => (
            h("li", {}, h("time", { class: "digits" }), h("span", {}))
        ), (row, entry) => {
            text(row.firstChild, entry.at.toLocaleTimeString(locale()));
            const values = { ...entry.values };
            if (entry.key === "log.ended") values.reason = known("reason", values.reason);
            text(row.lastChild, t(entry.key, values));
        });
    }

    function words() {
        text(title, t("health.title"));
        text(logName, t("health.log"));
        text(logEmpty, t("health.logEmpty"));
        text(metrics, t("health.metrics"));
        for (const tile of tiles) {
            text(tile.name, t(`health.${tile.measure.key}`));
            if (tile.note) text(tile.note, t(`health.${tile.measure.key}Text`));
        }
        drawnAt = -Infinity;
    }

    words();
    return { element, update, words, isAnimated: () => true };
}

/** Draws the values that a statistic has had. */
function drawCourse(course, { stat, floor = 0 }, history, ink) {
    const { clientWidth: width, clientHeight: height } = course;
    if (width === 0) return;
    const pen = fit(course, width, height);
    const values = history.map((stats) => Math.max(stats[stat], floor));
    if (values.length < 2) return;
    const [low, high] = [floor, Math.max(0.001, ...values)];
    pen.strokeStyle = ink;
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    pen.beginPath();
    values.forEach((value, idx) => {
        const x = width - 1 - (values.length - 1 - idx) * ((width - 2) / Math.max(30, values.length - 1));
        pen.lineTo(x, height - 2 - ((value - low) / (high - low)) * (height - 4));
    });
    pen.stroke();
}
