// The whole session in one strip, with the part that the timeline shows marked in it.

import { attribute, h } from "../dom.js";
import { t } from "../texts/index.js";
import { Camera } from "./camera.js";
import { drawTimeline, fit } from "./draw.js";

/** Shortest time between two drawings of the strip: its bars move by less than a pixel in between. */
const EVERY_MS = 500;

export function overview(app, cameraOf, moved) {
    const { settings } = app;
    const canvas = h("canvas", { class: "overview-canvas", "aria-hidden": "true" });
    const shown = h("div", { class: "overview-shown" });
    const element = h("div", { class: "overview" }, canvas, shown);
    const whole = new Camera();
    let drawn = {};

    function go(event) {
        const camera = cameraOf();
        if (!camera) return;
        const time = whole.time(event.clientX - canvas.getBoundingClientRect().left);
        if (time > camera.end - camera.span / 8) camera.toLive();
        else camera.centre(time);
        moved();
    }
    element.addEventListener("pointerdown", (event) => {
        element.setPointerCapture(event.pointerId);
        go(event);
    });
    element.addEventListener("pointermove", (event) => {
        if (element.hasPointerCapture(event.pointerId)) go(event);
    });

    function update(followed, camera, nowMs) {
        const { clientWidth: width, clientHeight: height } = canvas;
        if (width === 0) return;
        whole.resize(width);
        whole.end = camera.end;
        whole.fit();
        const key = { followed, width, shade: settings.shade };
        const isOther = Object.keys(key).some((name) => key[name] !== drawn[name]);
        const isDue = followed.model.version !== drawn.version && nowMs - drawn.at > EVERY_MS;
        if (isOther || isDue) {
            drawn = { ...key, version: followed.model.version, at: nowMs };
            const pen = fit(canvas, width, height);
            const frame = app.ribbonOf(followed).frame(whole, {
                top: 3, height: height - 6, minHeight: 2, maxHeight: 12, nowMs, isStill: true, spacing: 120,
            });
            drawTimeline(pen, frame, whole, height, app.fills, { shade: settings.shade, axis: false });
        }
        if (followed.model.version !== drawn.version) setTimeout(app.redraw, EVERY_MS);
        const left = Math.max(0, whole.x(camera.left));
        const right = Math.min(width, whole.x(camera.right));
        shown.style.setProperty("left", `${left}px`);
        shown.style.setProperty("width", `${Math.max(6, right - left)}px`);
    }

    return { element, update, words: () => attribute(element, "title", t("timeline.overview")) };
}
