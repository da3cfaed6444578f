// This device as a microphone: start and stop, or drop a file.

import { microphones } from "../audio/capture.js";
import { naming } from "../audio/listening.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
import { clock, number, t } from "../texts/index.js";

const SPEEDS = ["1", "4", "Infinity"];
const LOUDEST_SILENCE_DBFS = -60;

export function listenView(app) {
    const { listening, store, settings } = app;
    const title = h("h1", {});
    const intro = h("p", { class: "lead" });
    const name = h("input", { id: "listen-name", type: "text", maxlength: "200", autocomplete: "off", spellcheck: "false" });
    const nameLabel = h("label", { for: "listen-name" });
    const nameHint = h("p", { class: "hint", id: "listen-hint" });
    attribute(name, "aria-describedby", "listen-hint");

    const expected = h("input", { id: "listen-expected", type: "number", min: "1", max: "1000", inputmode: "numeric" });
    const expectedLabel = h("label", { for: "listen-expected" });
    const expectedHint = h("p", { class: "hint", id: "listen-expected-hint" });
    attribute(expected, "aria-describedby", "listen-expected-hint");
    const keep = h("input", { type: "checkbox", on: { change: () => settings.setKeepsAudio(keep.checked) } });
    const keepText = h("span", {});
    const keepLine = h("label", { class: "check", hidden: true }, keep, keepText);
    keep.checked = settings.keepsAudio;

    const device = h("select", { id: "listen-device", on: { change: () => settings.setMicrophone(device.value) } });
    const deviceLabel = h("label", { for: "listen-device" });
    const goOn = h("button", { type: "button", class: "button", hidden: true, on: { click: () => void listening.goOn(device.value) } });
    let found = [];

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
        h("div", { class: "field" }, expectedLabel, expected, expectedHint), keepLine,
        h("div", { class: "pair" },
            h("div", { class: "card listen-card" }, microphoneTitle, microphoneText,
                h("div", { class: "choice" }, deviceLabel, device),
                h("div", { class: "acts" }, toggle, goOn),
                h("div", { class: "listen-level" }, h("span", { class: "meter", "aria-hidden": "true" }, level), levelText),
                microphoneState, microphoneFault),
            drop));

    async function turn() {
        if (listening.microphone.kind !== "off") {
            await listening.stop();
            return;
        }
        const started = await listening.start(called(), device.value);
        void look();
        if (started) follow(started);
    }

    /** What the session is called, and what is known of it. */
    function called() {
        const n = expected.valueAsNumber;
        return {
            ...naming(name.value),
            expectedSpeakers: Number.isInteger(n) && n >= 1 && n <= 1000 ? n : undefined,
            keepAudio: settings.keepsAudio ? undefined : false,
        };
    }

    /** Looks which microphones there are. */
    async function look() {
        found = await microphones();
        app.redraw();
    }

    function send(file) {
        if (!file) return;
        void listening.send(file, { called: called(), speed: Number(speed.value), onStarted: follow });
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
    addEventListener("dragover", (event) => event.preventDefault());
    // A file may be dropped anywhere, in every view.
    addEventListener("drop", (event) => {
        event.preventDefault();
        attribute(drop, "data-over", undefined);
        const [file] = event.dataTransfer.files;
        if (!file) return;
        if (!["none", "done"].includes(listening.file.kind)) app.say(t("listen.oneFile"));
        else send(file);
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => void look());

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
        const isLost = microphone.kind === "lost";
        attribute(device, "disabled", !isOff && !isLost);
        attribute(goOn, "hidden", !isLost);
        showDevices();
        attribute(keepLine, "hidden", !store.server.keeps_audio);
        attribute(expected, "disabled", !isOff);
        text(levelText, dbfs === undefined ? "" : t("unit.dbfs", { n: number(Math.max(-99, dbfs)) }));
        text(microphoneState, stateOf(microphone));
        attribute(microphoneFault, "hidden", !microphone.fault);
        if (microphone.fault) text(microphoneFault, t(microphone.fault.key, { reason: microphone.fault.reason }));
    }

    function showDevices() {
        const all = [{ id: "", name: t("listen.anyDevice") }, ...found.map((one, idx) => (
            { id: one.id, name: one.name || t("listen.deviceNumber", { n: idx + 1 }) }
        ))];
        const { microphone } = settings;
        if (microphone && !all.some((one) => one.id === microphone)) all.push({ id: microphone, name: t("listen.deviceAway") });
        keyed(device, all, (one) => one.id, (one) => h("option", { value: one.id }), (option, one) => text(option, one.name));
        if (document.activeElement !== device) device.value = microphone ?? "";
    }

    function stateOf({ kind, publisher, note }) {
        if (kind === "again") return t("state.waiting");
        if (kind === "lost") return t("listen.waits");
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
        text(expectedLabel, t("listen.expected"));
        text(expectedHint, t("listen.expectedHint"));
        text(keepText, t("listen.keep"));
        text(deviceLabel, t("listen.device"));
        text(goOn, t("listen.goOn"));
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
    return { element, update, words, show: () => void look() };
}
