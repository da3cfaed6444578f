// The canvas with a lane for each speaker, in a box that scrolls where they are many.

import { attribute, h, text } from "../dom.js";
import { clock, t } from "../texts/index.js";
import { drawNames, drawPlayhead, drawTimeline, fit } from "./draw.js";
import { handle } from "./input.js";

const AXIS_PX = 34;
const LEAST_PX = 190;
/** Share of the window that the lanes fill, and may take at most before they scroll. */
const LANES_SHARE = 0.56;
const MOST_SHARE = 0.62;

/** `acts` are those of `handle`, but for what this knows itself. */
export function lanesStage(app, acts) {
    const { settings } = app;
    // The canvas is as high as what is seen of the lanes; what is below is room to scroll.
    const room = h("div", {});
    const canvas = h("canvas", { class: "lanes", tabindex: "0", role: "application", "aria-describedby": "timeline-keys" });
    const none = h("p", { class: "lanes-none", hidden: true });
    const element = h("div", { class: "lanes-scroll", on: { scroll: () => app.redraw() } }, canvas, room, none);
    const drawPlayed = playhead(app);
    handle(canvas, { ...acts, isScrolled: () => element.scrollHeight > element.clientHeight + 1 });

    /** Makes room for lanes that end at `bottom`: the height of the canvas, and how far it is scrolled. */
    function resize(bottom) {
        const whole = Math.max(LEAST_PX, bottom + 8);
        const height = Math.min(whole, Math.max(LEAST_PX, Math.round(innerHeight * MOST_SHARE)));
        canvas.style.setProperty("height", `${height}px`);
        room.style.setProperty("height", `${whole - height}px`);
        element.style.setProperty("height", `${height}px`);
        return { height, scroll: Math.min(element.scrollTop, whole - height) };
    }

    function draw({ followed, camera, timeline, selected }, width, nowMs) {
        const { model } = followed;
        const frame = timeline.frame(camera, {
            top: AXIS_PX, height: Math.round(innerHeight * LANES_SHARE) - AXIS_PX, nowMs, isStill: settings.isStill,
            minHeight: 30, maxHeight: 58,
        });
        const { height, scroll } = resize(frame.bottom);
        const pen = fit(canvas, width, height);
        drawTimeline(pen, frame, camera, height, app.fills, { selected, shade: settings.shade, scroll });
        drawPlayed(pen, followed, camera, height);
        const maxWidth = Math.min(160, width / 4);
        drawNames(pen, frame, (label) => model.nameOf(label), app.fills, { width, height, scroll, maxWidth });
        attribute(none, "hidden", model.segments.size > 0);
        attribute(canvas, "aria-label", t("timeline.canvas", {
            session: model.id, speakers: t("count.speakers", { n: model.speakers.size }), length: clock(model.heard),
        }));
    }

    /** Scrolls to the lane of a speaker. */
    function reveal({ timeline: { lanes } }, speaker) {
        const y = lanes.y(speaker);
        if (y === undefined) return;
        const top = y - AXIS_PX;
        if (top < element.scrollTop) element.scrollTop = top;
        const bottom = y + lanes.height - canvas.clientHeight;
        if (bottom > element.scrollTop) element.scrollTop = bottom;
    }

    /** The segment that is seen at a point of the canvas. */
    function hit({ camera, timeline }, { x, y }) {
        return y < AXIS_PX ? undefined : timeline.hit(camera, x, y + element.scrollTop);
    }

    return {
        element, draw, reveal, hit,
        words: () => text(none, t("timeline.noSegments")),
        point: (isSegment) => canvas.style.setProperty("cursor", isSegment ? "pointer" : "grab"),
    };
}

/** Draws the place of what is played. */
function playhead(app) {
    const { player, settings } = app;
    /** Second that was played when the last frame was drawn. */
    let playedAt = 0;
    return (pen, followed, camera, height) => {
        if (player.session !== followed.id) return;
        const { position, isPlaying } = player;
        // It goes along with what is played, unless the person looks elsewhere.
        if (isPlaying && position > camera.right && playedAt <= camera.right) camera.reveal(position, position + camera.span / 2);
        playedAt = position;
        drawPlayhead(pen, camera, position, height, settings.shade);
    };
}
