// What the segment or the gap below the pointer is.

import { attribute, h, text } from "../dom.js";
import { clock, known, number, percent, t } from "../texts/index.js";

/** `stage` is the canvas that is pointed at. */
export function pointerTip(app, stage) {
    const element = h("div", { class: "tip", hidden: true });
    /** The place of the pointer on the canvas. */
    let point;

    function update(look, width) {
        const segment = point && stage.hit(look, point);
        const gap = point && !segment && look.timeline.gapAt(look.camera, point.x);
        stage.point(Boolean(segment));
        attribute(element, "hidden", !segment && !gap);
        if (!segment && !gap) return;
        text(element, segment ? ofSegment(look.followed.model, segment) : ofGap(gap));
        const half = element.offsetWidth / 2;
        element.style.setProperty("left", `${Math.max(half + 4, Math.min(width - half - 4, point.x))}px`);
        element.style.setProperty("top", `${point.y}px`);
    }

    return {
        element,
        update,
        move(to) {
            point = to;
            app.redraw();
        },
    };
}

function ofSegment(model, segment) {
    const state = t(segment.final ? "timeline.final" : "timeline.provisional");
    return `${model.nameOf(segment.speaker)} · ${clock(segment.start, 1)} – ${clock(segment.end, 1)}`
        + ` · ${percent(segment.confidence)} · ${state}`;
}

function ofGap(gap) {
    const length = t("unit.seconds", { n: number(gap.end - gap.start, 1) });
    return t("timeline.gapWhy", { length, reason: known("gap", gap.reason) });
}
