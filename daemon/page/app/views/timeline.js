// A lane a speaker, live; zoom and pan, and a panel for one segment.

import { attribute, button, h, icon, text } from "../dom.js";
import { clock, percent, t } from "../texts/index.js";
import { Looks } from "../timeline/look.js";
import { overview } from "../timeline/overview.js";
import { segmentPanel } from "../timeline/panel.js";
import { lanesStage } from "../timeline/stage.js";
import { segmentTable } from "../timeline/table.js";
import { pointerTip } from "../timeline/tip.js";

export function timelineView(app) {
    const { store } = app;
    const looks = new Looks(store);
    const title = h("h1", {});
    const keysText = h("p", { id: "timeline-keys", class: "unseen" });
    const tools = cameraTools(change);
    const key = legend();
    const stage = lanesStage(app, {
        camera: () => looks.now()?.camera,
        moved: () => app.redraw(),
        hovered: (point) => tip.move(point),
        clicked: (point) => {
            const look = looks.now();
            if (look) select(stage.hit(look, point));
        },
        walked: (by) => reveal(looks.now()?.neighbour(by)),
        escaped: () => select(undefined),
        played: () => app.playing.space(looks.now()?.segment?.start),
        entered: () => panel.focus(),
    });
    const tip = pointerTip(app, stage);
    const map = overview(app, () => looks.now()?.camera, () => app.redraw());
    const panel = segmentPanel(app, () => select(undefined));
    const table = segmentTable(app, (segment) => {
        reveal(segment);
        panel.focus();
    });
    const element = h("section", { class: "view timeline" },
        h("div", { class: "view-head" }, title, tools.element),
        h("div", { class: "card lanes-card" }, stage.element, tip.element, map.element, key.element),
        keysText, panel.element, table.element);

    function change(act) {
        const look = looks.now();
        if (look) act(look.camera);
        app.redraw();
    }

    function select(segment) {
        const look = looks.now();
        if (look) look.selected = segment?.id;
        app.redraw();
    }

    /** Marks a segment and brings it into sight. */
    function reveal(segment) {
        const look = looks.now();
        if (!segment || !look) return;
        select(segment);
        look.camera.reveal(segment.start, segment.end);
        stage.reveal(look, segment.speaker);
        announce(look.followed.model, segment);
    }

    function words() {
        text(title, t("timeline.title"));
        text(keysText, t("timeline.keys"));
        for (const part of [tools, key, stage, map, panel, table]) part.words();
    }

    words();
    return {
        element,
        needsSession: true,
        update: (nowMs) => show(looks.now(), nowMs, { tools, stage, map, tip, panel, table }),
        words,
        isAnimated: () => store.followed?.model.live === true || store.followed?.timeline.isMoving === true,
    };
}

/** Shows a look in all parts of the view. */
function show(look, nowMs, { tools, stage, map, tip, panel, table }) {
    const width = stage.element.clientWidth;
    if (!look || width === 0) return;
    const { followed, camera, selected } = look;
    camera.resize(width);
    camera.follow(followed.position(nowMs));
    stage.draw(look, width, nowMs);
    tools.update(look);
    map.update(followed, camera, nowMs);
    tip.update(look, width);
    panel.update(followed, selected);
    table.update(followed.model);
}

/** The buttons that zoom and go to the newest audio; `change` gets what one of them does with the camera. */
function cameraTools(change) {
    const tool = (name, act) => button("icon-button", () => change(act), icon(name));
    const zoomOut = tool("minus", (camera) => camera.zoom(1 / 1.6));
    const zoomIn = tool("plus", (camera) => camera.zoom(1.6));
    const fitAll = tool("fit", (camera) => camera.fit());
    const live = button("button live", () => change((camera) => camera.toLive()), h("span", { class: "pulse" }), h("span", {}));
    const element = h("div", { class: "tools" }, zoomOut, zoomIn, fitAll, live);

    function update({ camera, followed: { model } }) {
        attribute(live, "data-on", camera.isLive && model.live ? "" : undefined);
        attribute(live, "hidden", !model.live && camera.isLive);
    }

    function words() {
        for (const [one, key] of [[zoomOut, "timeline.out"], [zoomIn, "timeline.in"], [fitAll, "timeline.fit"]]) {
            attribute(one, "aria-label", t(key));
            attribute(one, "title", t(key));
        }
        text(live.lastChild, t("timeline.live"));
        attribute(live, "title", t("timeline.toLive"));
    }

    return { element, update, words };
}

/** What the kinds of bars mean. */
function legend() {
    const element = h("ul", { class: "legend" });
    const words = () => element.replaceChildren(...["final", "provisional", "overlap", "gap"].map((kind) => (
        h("li", {}, h("span", { class: `key key-${kind}`, "aria-hidden": "true" }), t(`timeline.${kind}`))
    )));
    return { element, words };
}

/** Gives screen readers the segment that is marked. */
function announce(model, segment) {
    const sentence = `${model.nameOf(segment.speaker)}, ${clock(segment.start, 1)} – ${clock(segment.end, 1)}, `
        + percent(segment.confidence);
    document.getElementById("announcer").textContent = sentence;
}
