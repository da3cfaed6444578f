// What is known of one segment, and giving it to another speaker.

import { numberOf } from "../../client/index.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
import { canPlay } from "../playing.js";
import { renameInPlace } from "../renaming.js";
import { swatch } from "../swatch.js";
import { clock, number, percent, t } from "../texts/index.js";

/** Stands for a speaker that there is not yet. */
const NEW = "new";

export function segmentPanel(app, closed) {
    const { settings } = app;
    const band = swatch("large");
    const name = h("h2", {});
    const which = h("span", { class: "quiet" });
    const facts = h("dl", { class: "facts" });
    const close = h("button", { type: "button", class: "icon-button", on: { click: closed } }, icon("close"));
    const rename = h("button", { type: "button", class: "button small", on: { click: () => shown && renameInPlace(app, shown.speaker, rename) } });
    const play = h("button", { type: "button", class: "button small", on: { click: () => app.playing.play(shown.start, shown.end) } });
    const select = h("select", { id: "give-to" });
    const selectName = h("label", { for: "give-to" });
    const give = h("button", { type: "button", class: "button primary", on: { click: reassign } });
    const hint = h("p", { class: "hint" });
    const said = h("p", { class: "said", hidden: true });
    const form = h("div", { class: "give" }, selectName, select, give);
    const element = h("section", { class: "card panel", hidden: true },
        h("div", { class: "panel-head" }, band, h("div", {}, name, which), rename, play, close), said, facts, form, hint);
    let shown;
    let canGive = false;

    function reassign() {
        if (!shown || !select.value) return;
        const { id: segment, speaker } = shown;
        app.correct(select.value === NEW
            ? { type: "split", speaker, segments: [segment] }
            : { type: "reassign", segment, speaker: select.value });
    }

    function words() {
        attribute(close, "aria-label", t("timeline.close"));
        play.replaceChildren(icon("play"), t("play.go"));
        rename.replaceChildren(icon("edit"), t("speakers.rename"));
        text(selectName, t("timeline.someoneElse"));
        text(give, t("timeline.give"));
        facts.replaceChildren();
        facts.heldByKey = undefined;
    }

    function update(followed, id) {
        const segment = id === undefined ? undefined : followed.model.segments.get(id);
        attribute(element, "hidden", !segment);
        shown = segment;
        if (!segment) return;
        const { model } = followed;
        attribute(play, "hidden", !canPlay(followed));
        attribute(play, "aria-label", t("play.turn", { name: model.nameOf(segment.speaker), time: clock(segment.start, 1) }));
        attribute(rename, "hidden", !followed.canCorrect);
        attribute(rename, "aria-label", t("turns.rename", { name: model.nameOf(segment.speaker) }));
        band.paint(settings.shade, segment.speaker);
        text(name, model.nameOf(segment.speaker));
        text(which, t("timeline.segment", { id: segment.id }));
        const words = model.textOf(segment.id);
        text(said, words);
        attribute(said, "hidden", words === "");
        const rows = [
            ["from", clock(segment.start, 2)],
            ["to", clock(segment.end, 2)],
            ["length", t("unit.seconds", { n: number(segment.end - segment.start, 2) })],
            ["confidence", percent(segment.confidence)],
            ["state", t(segment.final ? "timeline.final" : "timeline.provisional")],
        ];
        if (segment.snr_db !== undefined) rows.push(["snr", `${number(segment.snr_db, 1)} dB`]);
        if (segment.c50_db !== undefined) rows.push(["c50", `${number(segment.c50_db, 1)} dB`]);
        keyed(facts, rows, ([key]) => key, ([key]) => (
            h("div", {}, h("dt", {}, t(`timeline.${key}`)), h("dd", {}))
        ), (row, [, value]) => text(row.lastChild, value));
        const others = [...model.speakers.values()]
            .filter((s) => s.id !== segment.speaker)
            .sort((a, b) => numberOf(a.id) - numberOf(b.id));
        // Who has nothing else would only get another label.
        const hasMore = [...model.segments.values()].some((s) => s.speaker === segment.speaker && s.id !== segment.id);
        if (hasMore) others.push({ id: NEW });
        keyed(select, others, (s) => s.id, (s) => h("option", { value: s.id }), (option, s) => {
            text(option, s.id === NEW ? t("timeline.somebodyNew") : s.name ? `${s.name} (${s.id})` : s.id);
        });
        canGive = followed.canCorrect && segment.final && others.length > 0;
        attribute(form, "hidden", !followed.canCorrect);
        attribute(give, "disabled", !canGive);
        attribute(select, "disabled", !canGive);
        text(hint, hintOf(segment, others));
        attribute(hint, "hidden", hint.textContent === "");
    }

    function hintOf(segment, others) {
        if (!segment.final) return t("timeline.notYet");
        return others.length === 0 ? t("timeline.alone") : "";
    }

    return { element, update, words, focus: () => (canGive ? select : close).focus() };
}
