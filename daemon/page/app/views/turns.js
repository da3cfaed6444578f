// Every turn as a line: searched, filtered by speaker, corrected in place, copied and saved.

import { attribute, button, h, icon, keyed, text } from "../dom.js";
import { exportButtons } from "../exports.js";
import { canPlay } from "../playing.js";
import { clock, t } from "../texts/index.js";
import { Turns } from "../turns.js";
import { turnList } from "./turn-list.js";

const EVERYBODY = "";

/** Turns as people paste them: `0:12.3  Ann: hello there`. */
export function asText(model, turns) {
    const line = ({ segment, said }) => `${clock(segment.start, 1)}  ${model.nameOf(segment.speaker)}: ${said}`.trimEnd();
    return turns.map((turn) => `${line(turn)}\n`).join("");
}

export function turnsView(app) {
    const { store, settings } = app;
    const title = h("h1", {});
    const filter = turnsFilter(() => {
        list.restart();
        again();
    });
    const copy = button("button small", () => void toClipboard(app, matched));
    const exports = exportButtons(app, () => store.followed.id, { hasAudio: true });
    const count = h("p", { class: "hint", role: "status" });
    const list = turnList(app, again);
    const element = h("section", { class: "view turns" }, h("div", { class: "view-head" }, title),
        h("div", { class: "turns-tools" }, ...filter.elements, copy, exports.element), count, list.element, list.more);
    /** What the list shows. */
    let shown = {};
    /** What all its rows depend on. */
    let common;
    let turns;
    let matched = [];

    function again() {
        shown = {};
        app.redraw();
    }

    function update() {
        const { followed } = store;
        const { model } = followed;
        const now = {
            model, version: model.version, canCorrect: followed.canCorrect, language: settings.language, shade: settings.shade,
            canPlay: canPlay(followed),
        };
        list.follow();
        // An open choice or field is not disturbed.
        const isChoosing = list.element.contains(document.activeElement) && ["SELECT", "INPUT"].includes(document.activeElement.tagName);
        if (isChoosing || Object.keys(now).every((key) => now[key] === shown[key])) return;
        if (turns?.model !== model) {
            turns?.close();
            turns = new Turns(model);
        }
        const names = [...model.speakers.keys()].map((id) => model.nameOf(id)).join("\n");
        const all = { ...now, version: undefined, names };
        if (!common || Object.keys(all).some((key) => all[key] !== common[key])) common = all;
        filter.update(model);
        matched = turns.matching(filter.wanted());
        shown = list.show(matched, common) ? now : {};
        text(count, t("turns.count", { n: matched.length }));
        exports.update(store.nameOf(followed.id), now.canPlay);
    }

    function words() {
        text(title, t("nav.turns"));
        filter.words();
        copy.replaceChildren(icon("file"), t("turns.copy"));
        common = undefined;
        shown = {};
    }

    words();
    return { element, update, words, needsSession: true };
}

/** The search and the choice of a speaker; `changed` is called when either changes. */
function turnsFilter(changed) {
    const search = h("input", { type: "search", id: "turns-search", autocomplete: "off", on: { input: changed } });
    const searchLabel = h("label", { class: "unseen", for: "turns-search" });
    const who = h("select", { id: "turns-speaker", on: { change: changed } });
    const whoLabel = h("label", { class: "unseen", for: "turns-speaker" });
    return {
        elements: [searchLabel, search, whoLabel, who],
        wanted: () => ({ speaker: who.value, wanted: search.value }),
        update(model) {
            const all = [{ id: EVERYBODY }, ...model.speakers.values()];
            keyed(who, all, (s) => s.id, (s) => h("option", { value: s.id }), (option, s) => {
                text(option, s.id === EVERYBODY ? t("turns.everybody") : model.nameOf(s.id));
            });
        },
        words() {
            text(searchLabel, t("turns.search"));
            attribute(search, "placeholder", t("turns.search"));
            text(whoLabel, t("turns.filter"));
        },
    };
}

async function toClipboard(app, turns) {
    try {
        await navigator.clipboard.writeText(asText(app.store.followed.model, turns));
        app.say(t("turns.copied", { n: turns.length }));
    } catch {
        app.say(t("turns.notCopied"));
    }
}
