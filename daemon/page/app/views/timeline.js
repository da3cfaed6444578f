// A lane a speaker, live; zoom and pan, and a panel for one segment.

import { attribute, h, icon, keyed, text } from "../dom.js";
import { clock, known, number, percent, t } from "../texts/index.js";
import { Camera } from "../timeline/camera.js";
import { drawNames, drawPlayhead, drawTimeline, fit } from "../timeline/draw.js";
import { handle } from "../timeline/input.js";
import { overview } from "../timeline/overview.js";
import { segmentPanel } from "../timeline/panel.js";

const AXIS_PX = 34;
const LEAST_PX = 190;
/** Share of the window that the lanes fill, and may take at most before they scroll. */
const LANES_SHARE = 0.56;
const MOST_SHARE = 0.62;
const LISTED = 40;

export function timelineView(app) {
    const { store, settings } = app;
    const tool = (name, act) => h("button", { type: "button", class: "icon-button", on: { click: act } }, icon(name));
    const zoomOut = tool("minus", () => zoom(1 / 1.6));
    const zoomIn = tool("plus", () => zoom(1.6));
    const fitAll = tool("fit", () => change((c) => c.fit()));
    const live = h("button", { type: "button", class: "button live", on: { click: () => change((c) => c.toLive()) } },
        h("span", { class: "pulse" }), h("span", {}));
    // The canvas is as high as what is seen of the lanes; what is below is room to scroll.
    const room = h("div", {});
    const canvas = h("canvas", { class: "lanes", tabindex: "0", role: "application", "aria-describedby": "timeline-keys" });
    const keysText = h("p", { id: "timeline-keys", class: "unseen" });
    const tip = h("div", { class: "tip", hidden: true });
    const none = h("p", { class: "lanes-none", hidden: true });
    const legend = h("ul", { class: "legend" });
    const title = h("h1", {});
    const tableName = h("summary", {});
    const body = h("tbody", {});
    const head = h("tr", {});
    const table = h("details", { class: "card", open: matchMedia("(min-width: 761px)").matches }, tableName,
        h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), body)));
    const panel = segmentPanel(app, () => select(undefined));
    const cameras = new WeakMap();
    let selected;
    let hovered;
    /** Second that was heard when the last frame was drawn. */
    let playedAt = 0;
    let listed = {};
    const map = overview(app, () => current()?.camera, () => app.redraw());
    const scroller = h("div", { class: "lanes-scroll", on: { scroll: () => app.redraw() } }, canvas, room, none);
    const element = h("section", { class: "view timeline" },
        h("div", { class: "view-head" }, title,
            h("div", { class: "tools" }, zoomOut, zoomIn, fitAll, live)),
        h("div", { class: "card lanes-card" }, scroller, tip, map.element, legend),
        keysText, panel.element, table);

    function current() {
        const { followed } = store;
        if (!followed) return undefined;
        let camera = cameras.get(followed);
        if (!camera) {
            camera = new Camera({ span: followed.model.live ? 60 : Math.max(20, followed.model.heard * 1.1) });
            cameras.set(followed, camera);
            selected = undefined;
        }
        return { followed, camera, timeline: followed.timeline };
    }

    function change(act) {
        const now = current();
        if (now) act(now.camera);
        app.redraw();
    }

    const zoom = (factor) => change((camera) => camera.zoom(factor));

    function select(segment, isRevealed = false) {
        selected = segment?.id;
        if (segment && isRevealed) {
            change((camera) => camera.reveal(segment.start, segment.end));
            revealLane(segment.speaker);
            announce(segment);
        }
        app.redraw();
    }

    function revealLane(speaker) {
        const { lanes } = store.followed.timeline;
        const y = lanes.y(speaker);
        if (y === undefined) return;
        const top = y - AXIS_PX;
        if (top < scroller.scrollTop) scroller.scrollTop = top;
        const bottom = y + lanes.height - canvas.clientHeight;
        if (bottom > scroller.scrollTop) scroller.scrollTop = bottom;
    }

    /** The segment that is seen at a point of the canvas. */
    function hit({ camera, timeline }, { x, y }) {
        return y < AXIS_PX ? undefined : timeline.hit(camera, x, y + scroller.scrollTop);
    }

    function announce(segment) {
        const { followed } = store;
        const from = clock(segment.start, 1);
        const sentence = `${followed.model.nameOf(segment.speaker)}, ${from} – ${clock(segment.end, 1)}, `
            + percent(segment.confidence);
        document.getElementById("announcer").textContent = sentence;
    }

    handle(canvas, {
        camera: () => current()?.camera,
        isScrolled: () => scroller.scrollHeight > scroller.clientHeight + 1,
        moved: () => app.redraw(),
        hovered: (point) => {
            hovered = point;
            app.redraw();
        },
        clicked: (point) => {
            const now = current();
            if (now) select(hit(now, point));
        },
        walked: (by) => {
            const now = current();
            const time = now?.camera.isLive ? now.camera.end : now?.camera.time(now.camera.width / 2);
            const segment = now?.timeline.neighbour(selected, by, time);
            if (segment) select(segment, true);
        },
        escaped: () => select(undefined),
        played: () => {
            const segment = store.followed?.model.segments.get(selected);
            app.playing.space(segment?.start);
        },
        entered: () => panel.focus(),
    });

    function words() {
        text(title, t("timeline.title"));
        text(keysText, t("timeline.keys"));
        text(none, t("timeline.noSegments"));
        text(tableName, t("timeline.list"));
        for (const [button, key] of [[zoomOut, "timeline.out"], [zoomIn, "timeline.in"], [fitAll, "timeline.fit"]]) {
            attribute(button, "aria-label", t(key));
            attribute(button, "title", t(key));
        }
        text(live.lastChild, t("timeline.live"));
        attribute(live, "title", t("timeline.toLive"));
        legend.replaceChildren(...["final", "provisional", "overlap", "gap"].map((kind) => (
            h("li", {}, h("span", { class: `key key-${kind}`, "aria-hidden": "true" }), t(`timeline.${kind}`))
        )));
        head.replaceChildren(...["speaker", "from", "to", "length", "confidence", "state"].map((key) => (
            h("th", { scope: "col" }, t(`timeline.${key}`))
        )), h("th", {}, h("span", { class: "unseen" }, t("timeline.someoneElse"))));
        body.replaceChildren();
        body.heldByKey = undefined;
        listed = {};
        map.words();
        panel.words();
    }

    function update(nowMs) {
        const now = current();
        const width = canvas.parentElement.clientWidth;
        if (!now || width === 0) return;
        const { followed, camera, timeline } = now;
        const { model } = followed;
        const space = Math.round(innerHeight * LANES_SHARE);
        camera.resize(width);
        camera.follow(followed.position(nowMs));
        const frame = timeline.frame(camera, {
            top: AXIS_PX, height: space - AXIS_PX, nowMs, isStill: settings.isStill, minHeight: 30, maxHeight: 58,
        });
        const whole = Math.max(LEAST_PX, frame.bottom + 8);
        const height = Math.min(whole, Math.max(LEAST_PX, Math.round(innerHeight * MOST_SHARE)));
        canvas.style.setProperty("height", `${height}px`);
        room.style.setProperty("height", `${whole - height}px`);
        scroller.style.setProperty("height", `${height}px`);
        const scroll = Math.min(scroller.scrollTop, whole - height);
        const pen = fit(canvas, width, height);
        drawTimeline(pen, frame, camera, height, app.fills, { selected, shade: settings.shade, scroll });
        const maxWidth = Math.min(160, width / 4);
        if (app.player.session === followed.id) {
            const { position, isPlaying } = app.player;
            // It goes along with what is heard, unless the person looks elsewhere.
            if (isPlaying && position > camera.right && playedAt <= camera.right) camera.reveal(position, position + camera.span / 2);
            playedAt = position;
            drawPlayhead(pen, camera, position, height, settings.shade);
        }
        drawNames(pen, frame, (label) => model.nameOf(label), app.fills, { width, height, scroll, maxWidth });
        attribute(none, "hidden", model.segments.size > 0);
        attribute(live, "data-on", camera.isLive && model.live ? "" : undefined);
        attribute(live, "hidden", !model.live && camera.isLive);
        attribute(canvas, "aria-label", t("timeline.canvas", {
            session: model.id, speakers: t("count.speakers", { n: model.speakers.size }), length: clock(model.heard),
        }));
        map.update(followed, camera, nowMs);
        showTip(now, width);
        panel.update(followed, selected);
        if (table.open) showTable(model);
    }

    function showTip(now, width) {
        const { followed, camera, timeline } = now;
        const segment = hovered && hit(now, hovered);
        const gap = hovered && !segment && timeline.gapAt(camera, hovered.x);
        canvas.style.setProperty("cursor", segment ? "pointer" : "grab");
        attribute(tip, "hidden", !segment && !gap);
        if (segment) {
            const state = t(segment.final ? "timeline.final" : "timeline.provisional");
            text(tip, `${followed.model.nameOf(segment.speaker)} · ${clock(segment.start, 1)} – ${clock(segment.end, 1)}`
                + ` · ${percent(segment.confidence)} · ${state}`);
        } else if (gap) {
            const length = t("unit.seconds", { n: number(gap.end - gap.start, 1) });
            text(tip, t("timeline.gapWhy", { length, reason: known("gap", gap.reason) }));
        } else {
            return;
        }
        const half = tip.offsetWidth / 2;
        tip.style.setProperty("left", `${Math.max(half + 4, Math.min(width - half - 4, hovered.x))}px`);
        tip.style.setProperty("top", `${hovered.y}px`);
    }

    function showTable(model) {
        if (listed.model === model && listed.version === model.version) return;
        listed = { model, version: model.version };
        const rows = [...model.segments.values()].sort((a, b) => b.start - a.start || b.id - a.id).slice(0, LISTED);
        keyed(body, rows, (s) => s.id, (s) => {
            const cells = Array.from({ length: 6 }, () => h("td", {}));
            const who = h("span", {});
            const said = h("span", { class: "said", hidden: true });
            cells[0].append(who, said);
            const open = h("button", { type: "button", class: "button small ghost" }, t("timeline.someoneElse"));
            open.addEventListener("click", () => {
                select(model.segments.get(s.id), true);
                panel.focus();
            });
            return Object.assign(h("tr", {}, ...cells, h("td", {}, open)), { parts: [who, ...cells.slice(1)], said });
        }, ({ parts, said }, s) => {
            const words = model.textOf(s.id);
            text(said, words);
            attribute(said, "hidden", words === "");
            const values = [
                model.nameOf(s.speaker), clock(s.start, 1), clock(s.end, 1), clock(s.end - s.start, 1),
                percent(s.confidence), t(s.final ? "timeline.final" : "timeline.provisional"),
            ];
            values.forEach((value, idx) => text(parts[idx], value));
        });
    }

    table.addEventListener("toggle", () => app.redraw());
    words();
    return {
        element,
        needsSession: true,
        update,
        words,
        isAnimated: () => store.followed?.model.live === true || store.followed?.timeline.isMoving === true,
    };
}
