// Keeps the screen on while this device listens or shows who speaks to a room, where the browser can.

export class Wake {
    /** @param {{request: (type: string) => Promise<EventTarget & {release: () => Promise<void>}>}} [locks] */
    constructor(locks = navigator.wakeLock) {
        this.locks = locks;
        this.isWanted = false;
        this.isAsking = false;
        this.held = undefined;
        // The browser lets go when the page is hidden.
        document.addEventListener("visibilitychange", () => this.#ask());
    }

    /** Whether the screen shall stay on from now on. */
    want(isWanted) {
        if (this.isWanted === isWanted) return;
        this.isWanted = isWanted;
        if (isWanted) void this.#ask();
        else void this.held?.release();
    }

    async #ask() {
        if (!this.isWanted || this.held || this.isAsking || document.hidden || !this.locks) return;
        this.isAsking = true;
        try {
            const held = await this.locks.request("screen");
            this.held = held;
            held.addEventListener("release", () => { this.held = undefined; });
            if (!this.isWanted) await held.release();
        } catch {
            // A system that saves power refuses; the screen goes dark as it always did.
        }
        this.isAsking = false;
    }
}
