// What is known of one segment, and giving it to another speaker.

import { numberOf } from "../../client/index.js";
import { attribute, button, clearKeyed, h, icon, keyed, text } from "../dom.js";
import { canPlay } from "../playing.js";
import { renameInPlace } from "../renaming.js";
import { swatch } from "../swatch.js";
import { clock, number, percent, t } from "../texts/index.js";

/** Stands for a speaker that there is not yet. */
const NEW = "new";

/** `closed` is called when the person closes the panel. */
export function segmentPanel(app, closed) {
    const { settings } = app;
    const band = swatch("large");
    const name = h("h2", {});
    const which = h("span", { class: "quiet" });
    const facts = h("dl", { class: "facts" });
    const close = button("icon-button", closed, icon("close"));
    const rename = button("button small", () => shown && renameInPlace(app, shown.speaker, rename));
    const play = button("button small", () => app.playing.play(shown.start, shown.end));
    const said = h("p", { class: "said", hidden: true });
    const give = giveForm(app);
    const element = h("section", { class: "card panel", hidden: true },
        h("div", { class: "panel-head" }, band, h("div", {}, name, which), rename, play, close), said, facts, give.element, give.hint);
    /** The segment that is shown. */
    let shown;

    function words() {
        attribute(close, "aria-label", t("timeline.close"));
        play.replaceChildren(icon("play"), t("play.go"));
        rename.replaceChildren(icon("edit"), t("speakers.rename"));
        give.words();
        clearKeyed(facts);
    }

    function update(followed, id) {
        shown = id === undefined ? undefined : followed.model.segments.get(id);
        attribute(element, "hidden", !shown);
        if (!shown) return;
        const { model } = followed;
        const speaker = model.nameOf(shown.speaker);
        attribute(play, "hidden", !canPlay(followed));
        attribute(play, "aria-label", t("play.turn", { name: speaker, time: clock(shown.start, 1) }));
        attribute(rename, "hidden", !followed.canCorrect);
        attribute(rename, "aria-label", t("turns.rename", { name: speaker }));
        band.paint(settings.shade, shown.speaker);
        text(name, speaker);
        text(which, t("timeline.segment", { id: shown.id }));
        const words = model.textOf(shown.id);
        text(said, words);
        attribute(said, "hidden", words === "");
        keyed(facts, factsOf(shown), ([key]) => key, ([key]) => (
            h("div", {}, h("dt", {}, t(`timeline.${key}`)), h("dd", {}))
        ), (row, [, value]) => text(row.lastChild, value));
        give.update(followed, shown);
    }

    return { element, update, words, focus: () => (give.isOn ? give : close).focus() };
}

/** Facts of a segment: the keys of their names, and their values. */
function factsOf(segment) {
    const facts = [
        ["from", clock(segment.start, 2)],
        ["to", clock(segment.end, 2)],
        ["length", t("unit.seconds", { n: number(segment.end - segment.start, 2) })],
        ["confidence", percent(segment.confidence)],
        ["state", t(segment.final ? "timeline.final" : "timeline.provisional")],
    ];
    if (segment.snr_db !== undefined) facts.push(["snr", `${number(segment.snr_db, 1)} dB`]);
    if (segment.c50_db !== undefined) facts.push(["c50", `${number(segment.c50_db, 1)} dB`]);
    return facts;
}

/** The choice of another speaker for a segment. */
function giveForm(app) {
    const select = h("select", { id: "give-to" });
    const label = h("label", { for: "give-to" });
    const give = button("button primary", reassign);
    const hint = h("p", { class: "hint" });
    const element = h("div", { class: "give" }, label, select, give);
    let shown;
    let isOn = false;

    function reassign() {
        if (!shown || !select.value) return;
        const { id: segment, speaker } = shown;
        app.correct(select.value === NEW
            ? { type: "split", speaker, segments: [segment] }
            : { type: "reassign", segment, speaker: select.value });
    }

    function update(followed, segment) {
        shown = segment;
        const others = othersThan(followed.model, segment);
        keyed(select, others, (s) => s.id, (s) => h("option", { value: s.id }), (option, s) => {
            text(option, s.id === NEW ? t("timeline.somebodyNew") : s.name ? `${s.name} (${s.id})` : s.id);
        });
        isOn = followed.canCorrect && segment.final && others.length > 0;
        attribute(element, "hidden", !followed.canCorrect);
        attribute(give, "disabled", !isOn);
        attribute(select, "disabled", !isOn);
        const why = !segment.final ? t("timeline.notYet") : others.length === 0 ? t("timeline.alone") : "";
        text(hint, why);
        attribute(hint, "hidden", why === "");
    }

    function words() {
        text(label, t("timeline.someoneElse"));
        text(give, t("timeline.give"));
    }

    return {
        element, hint, update, words,
        /** Whether the segment can be given to somebody else. */
        get isOn() {
            return isOn;
        },
        focus: () => select.focus(),
    };
}

/** The speakers that a segment can be given to, by number. */
function othersThan(model, segment) {
    const others = [...model.speakers.values()]
        .filter((s) => s.id !== segment.speaker)
        .sort((a, b) => numberOf(a.id) - numberOf(b.id));
    // Who has nothing else would only get another label.
    const hasMore = [...model.segments.values()].some((s) => s.speaker === segment.speaker && s.id !== segment.id);
    if (hasMore) others.push({ id: NEW });
    return others;
}
