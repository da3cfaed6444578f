// This device as a microphone: start and stop, or drop a file.

import { naming } from "../audio/listening.js";
import { attribute, h, icon, text } from "../dom.js";
import { clock, number, t } from "../texts/index.js";

const SPEEDS = ["1", "4", "Infinity"];
const LOUDEST_SILENCE_DBFS = -60;

export function listenView(app) {
    const { listening, store } = app;
    const title = h("h1", {});
    const intro = h("p", { class: "lead" });
    const name = h("input", { id: "listen-name", type: "text", maxlength: "200", autocomplete: "off", spellcheck: "false" });
    const nameLabel = h("label", { for: "listen-name" });
    const nameHint = h("p", { class: "hint", id: "listen-hint" });
    attribute(name, "aria-describedby", "listen-hint");

    const microphoneTitle = h("h2", {});
    const microphoneText = h("p", { class: "quiet" });
    const toggle = h("button", { type: "button", class: "button primary big", on: { click: () => void turn() } });
    const level = h("span", { class: "meter-fill" });
    const levelText = h("span", { class: "digits" });
    const microphoneState = h("p", { class: "status", role: "status" });
    const microphoneFault = h("p", { class: "fault", role: "alert", hidden: true });

    const fileTitle = h("h2", {});
    const fileText = h("p", { class: "quiet" });
    const input = h("input", { type: "file", id: "listen-file", class: "unseen", accept: "audio/*,video/*" });
    const inputLabel = h("label", { class: "button primary big", for: "listen-file" });
    const speed = h("select", { id: "listen-speed" });
    const speedLabel = h("label", { for: "listen-speed" });
    const stop = h("button", { type: "button", class: "button", on: { click: () => listening.stopFile() } });
    const progress = h("progress", { max: "1", value: "0" });
    const fileState = h("p", { class: "status", role: "status" });
    const fileFault = h("p", { class: "fault", role: "alert", hidden: true });
    const drop = h("div", { class: "card listen-card drop" }, fileTitle, fileText,
        h("div", { class: "choice" }, speedLabel, speed),
        h("div", { class: "acts" }, input, inputLabel, stop), progress, fileState, fileFault);

    const element = h("section", { class: "view listen" },
        h("div", { class: "view-head" }, title), intro,
        h("div", { class: "field" }, nameLabel, name, nameHint),
        h("div", { class: "pair" },
            h("div", { class: "card listen-card" }, microphoneTitle, microphoneText,
                h("div", { class: "acts" }, toggle),
                h("div", { class: "listen-level" }, h("span", { class: "meter", "aria-hidden": "true" }, level), levelText),
                microphoneState, microphoneFault),
            drop));

    async function turn() {
        if (listening.microphone.kind !== "off") {
            await listening.stop();
            return;
        }
        const started = await listening.start(naming(name.value));
        if (started) follow(started);
    }

    function send(file) {
        if (!file) return;
        void listening.send(file, { called: naming(name.value), speed: Number(speed.value), onStarted: follow });
    }

    function follow(session) {
        app.go("listen", session);
        void store.poll();
    }

    input.addEventListener("change", () => {
        send(input.files[0]);
        input.value = "";
    });
    drop.addEventListener("dragover", (event) => {
        event.preventDefault();
        attribute(drop, "data-over", "");
    });
    drop.addEventListener("dragleave", () => attribute(drop, "data-over", undefined));
    drop.addEventListener("drop", (event) => {
        event.preventDefault();
        attribute(drop, "data-over", undefined);
        send(event.dataTransfer.files[0]);
    });
    // A file that is dropped beside the card must not take the page's place.
    for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());

    function update() {
        showMicrophone();
        showFile();
    }

    function showMicrophone() {
        const { microphone } = listening;
        const isOff = microphone.kind === "off";
        const word = t(isOff ? "listen.start" : microphone.kind === "starting" ? "listen.starting" : "listen.stop");
        if (toggle.dataset.word !== word) {
            toggle.dataset.word = word;
            toggle.replaceChildren(icon(isOff ? "listen" : "stop"), word);
        }
        attribute(toggle, "data-on", isOff ? undefined : "");
        const dbfs = listening.level;
        level.style.setProperty("--share", String(dbfs === undefined ? 0 : Math.max(0, 1 - dbfs / LOUDEST_SILENCE_DBFS)));
        text(levelText, dbfs === undefined ? "" : t("unit.dbfs", { n: number(Math.max(-99, dbfs)) }));
        text(microphoneState, stateOf(microphone));
        attribute(microphoneFault, "hidden", !microphone.fault);
        if (microphone.fault) text(microphoneFault, t(microphone.fault.key, { reason: microphone.fault.reason }));
    }

    function stateOf({ kind, publisher, note }) {
        if (kind === "again") return t("state.waiting");
        if (kind !== "on") return "";
        const said = t("listen.on", { time: clock(publisher.sent_s), confirmed: clock(publisher.received_s) });
        return note ? `${t(note.key, { session: note.session })} ${said}` : said;
    }

    function showFile() {
        const { file } = listening;
        const isBusy = !["none", "done"].includes(file.kind);
        attribute(input, "disabled", isBusy);
        attribute(inputLabel, "hidden", isBusy);
        attribute(stop, "hidden", !isBusy || file.kind === "finishing");
        attribute(speed, "disabled", isBusy);
        attribute(progress, "hidden", file.kind !== "playing");
        if (file.kind === "playing") progress.value = file.sent_s / file.total_s;
        const sentences = {
            decoding: () => t("listen.decoding", { file: file.name }),
            playing: () => t("listen.playing", { file: file.name, time: clock(file.sent_s), total: clock(file.total_s) }),
            finishing: () => t("listen.finishing", { file: file.name }),
            done: () => t("listen.done", { file: file.name, speakers: t("count.speakers", { n: file.speakers }) }),
        };
        text(fileState, sentences[file.kind]?.() ?? "");
        attribute(fileFault, "hidden", !file.fault);
        if (file.fault) text(fileFault, t(file.fault.key, file.fault.values));
    }

    function words() {
        text(title, t("listen.title"));
        text(intro, t("listen.intro", { host: store.address.base.host }));
        text(nameLabel, t("listen.name"));
        text(nameHint, t("listen.nameHint"));
        text(microphoneTitle, t("listen.microphone"));
        text(microphoneText, t("listen.microphoneText"));
        text(fileTitle, t("listen.file"));
        text(fileText, t("listen.fileText"));
        inputLabel.replaceChildren(icon("file"), t("listen.choose"));
        text(speedLabel, t("listen.speed"));
        text(stop, t("listen.stopFile"));
        attribute(progress, "aria-label", t("listen.file"));
        const chosen = speed.value || "1";
        speed.replaceChildren(...SPEEDS.map((one) => h("option", { value: one, selected: one === chosen },
            one === "1" ? t("listen.speedReal")
                : one === "Infinity" ? t("listen.speedMax") : t("listen.speedTimes", { n: one }))));
    }

    words();
    return { element, update, words };
}
