// Full screen for one view: the browser's own where it has one, and the whole window where it has none.

import { attribute } from "./dom.js";

export class FullScreen {
    /** @param {() => void} changed called after every change */
    constructor(changed) {
        this.isOn = false;
        this.changed = changed;
        document.addEventListener("fullscreenchange", () => {
            if (!document.fullscreenElement) this.#set(false);
        });
        document.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && this.isOn && !event.defaultPrevented) this.leave();
        });
    }

    #set(isOn) {
        if (this.isOn === isOn) return;
        this.isOn = isOn;
        // The whole document, not the view alone: messages and dialogs are to be seen as well.
        attribute(document.documentElement, "data-full", isOn);
        this.changed();
    }

    enter() {
        this.#set(true);
        // A browser that refuses, or a telephone that cannot, gives the window at least.
        document.documentElement.requestFullscreen?.().catch(() => {});
    }

    leave() {
        this.#set(false);
        if (document.fullscreenElement) void document.exitFullscreen();
    }

    toggle() {
        if (this.isOn) this.leave();
        else this.enter();
    }
}
