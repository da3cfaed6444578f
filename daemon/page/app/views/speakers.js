// Everybody who spoke: how much, and what a person can correct.

import { talk } from "../../client/index.js";
import { attribute, button, h, keyed, label, text } from "../dom.js";
import { factList } from "../facts.js";
import { canPlay } from "../playing.js";
import { nameForm } from "../renaming.js";
import { swatch } from "../swatch.js";
import { clock, percent, t } from "../texts/index.js";
import { mergeDialog } from "./merge.js";
import { splitDialog } from "./split.js";
import { voices } from "./voices.js";

const EVERY_MS = 250;
const FACTS = { talk: "speakers.talk", turns: "speakers.turns", longest: "speakers.longest", last: "speakers.last" };

export function speakersView(app) {
    const { store, settings } = app;
    const title = h("h1", {});
    const none = h("p", { class: "quiet", hidden: true });
    const shares = h("div", { class: "shares", "aria-hidden": "true" });
    const list = h("ul", { class: "people" });
    const merge = mergeDialog(app);
    const split = splitDialog(app);
    const voice = voices(app);
    const dialogs = { merge, split, voice };
    const element = h("section", { class: "view speakers" },
        h("div", { class: "view-head" }, title), h("div", { class: "card shares-card" }, shares), none, list,
        voice.element, merge.element, split.element);
    let updatedAt = -Infinity;
    /** What the cards show. */
    let shown = { version: -1 };

    function update(nowMs) {
        const { followed } = store;
        const { model } = followed;
        voice.update();
        const now = {
            model, shade: settings.shade, canCorrect: followed.canCorrect, language: settings.language,
            canPlay: canPlay(followed), known: voice.version, width: element.clientWidth,
        };
        const isOther = Object.keys(now).some((key) => now[key] !== shown[key]);
        const isNewer = shown.version !== model.version;
        if (!isOther && !(isNewer && nowMs - updatedAt > EVERY_MS)) {
            if (isNewer) setTimeout(app.redraw, EVERY_MS);
            return;
        }
        updatedAt = nowMs;
        shown = { ...now, version: model.version };
        const all = talk(model);
        attribute(none, "hidden", all.length > 0);
        attribute(shares.parentElement, "hidden", all.length === 0);
        keyed(list, all, (row) => `${model.id}/${row.id}`, (row) => card(app, row, dialogs), (item, row) => {
            showCard(item, row, { ...now, n: all.length, voice });
        });
        showShares(shares, all, settings.shade);
        // Painted when all have their places, which is when they have their sizes.
        all.forEach((row, idx) => list.children[idx].parts.band.paint(settings.shade, row.id));
        merge.update(followed);
        split.update(followed);
    }

    function words() {
        text(title, t("speakers.title"));
        text(none, t("speakers.none"));
        for (const part of [merge, split, voice]) part.words();
        shown = { version: -1 };
    }

    words();
    return { element, needsSession: true, update, words, show: voice.load };
}

/** The shares of the time, side by side. */
function showShares(shares, all, shade) {
    const some = all.filter((row) => row.share > 0);
    keyed(shares, some, (row) => row.id, () => swatch("share"), (bar, row) => {
        bar.style.setProperty("--share", row.share.toFixed(4));
    });
    some.forEach((row, idx) => shares.children[idx].paint(shade, row.id));
}

function card(app, { id }, { merge, split, voice }) {
    const speakerOf = () => app.store.followed.model.speakers.get(id);
    const rename = (name) => app.correct({ type: "rename", speaker: id, name });
    const act = (run) => button("button small", run);
    const parts = {
        band: swatch("tall"),
        name: h("h2", { class: "person-name" }),
        label: h("span", { class: "person-label" }),
        rename: act(() => parts.form.open(speakerOf()?.name ?? "")),
        merge: act(() => merge.open(id)),
        split: act(() => split.open(id)),
        know: act(() => speakerOf() && voice.open(app.store.followed.model.id, speakerOf())),
        who: act(() => app.playing.whoIs(id)),
        sure: h("p", { class: "hint" }),
        share: h("span", { class: "person-share" }),
        bar: h("span", { class: "meter-fill" }),
        facts: factList(FACTS),
    };
    const names = h("div", { class: "person-names" }, parts.name, parts.label);
    const acts = h("div", { class: "acts" }, parts.who, parts.rename, parts.merge, parts.split, parts.know);
    parts.form = nameForm({ maxlength: "100", spellcheck: "false" }, rename, (isOpen) => {
        attribute(names, "hidden", isOpen);
        attribute(acts, "hidden", isOpen);
        if (!isOpen) parts.rename.focus();
    });
    const item = h("li", { class: "card person" }, parts.band,
        h("div", { class: "person-body" },
            h("div", { class: "person-head" }, names, parts.form.element, parts.share),
            h("span", { class: "meter", "aria-hidden": "true" }, parts.bar),
            parts.facts.element, parts.sure, acts));
    return Object.assign(item, { parts });
}

function showCard({ parts }, row, { canCorrect, canPlay, n, voice }) {
    const name = row.name ?? row.id;
    text(parts.name, name);
    text(parts.label, row.name ? row.id : "");
    text(parts.share, percent(row.share));
    parts.bar.style.setProperty("--share", row.share.toFixed(4));
    parts.facts.update({
        talk: clock(row.total_s), turns: String(row.turns), longest: clock(row.longest_s, 1), last: clock(row.last_s),
    });
    parts.form.update(t("speakers.renameLabel", { label: row.id }));
    label(parts.rename, "edit", t("speakers.rename"), name);
    label(parts.merge, "merge", t("speakers.merge"), name);
    label(parts.split, "split", t("speakers.split"), name);
    label(parts.who, "play", t("play.who"), name);
    label(parts.know, "voice", t("voices.know"), name);
    attribute(parts.rename, "disabled", !canCorrect);
    attribute(parts.merge, "disabled", !canCorrect || n < 2);
    attribute(parts.split, "disabled", !canCorrect);
    attribute(parts.who, "hidden", !canPlay);
    attribute(parts.know, "hidden", !voice.isOn || voice.isKnown(row));
    const sure = voice.describe(row);
    text(parts.sure, sure);
    attribute(parts.sure, "hidden", sure === "");
}
