// Where a person looks in a session: a stretch of time, and the segment that is marked.

import { Camera } from "./camera.js";

/** Seconds that are shown at first of a live session, and at least of one that has ended. */
const LIVE_S = 60;
const LEAST_S = 20;

class Look {
    constructor(followed) {
        this.followed = followed;
        const { live, heard } = followed.model;
        this.camera = new Camera({ span: live ? LIVE_S : Math.max(LEAST_S, heard * 1.1) });
        /** Id of the marked segment. */
        this.selected = undefined;
    }

    get timeline() {
        return this.followed.timeline;
    }

    /** The marked segment, while the session has it. */
    get segment() {
        return this.followed.model.segments.get(this.selected);
    }

    /** The segment `by` places after the marked one; without one, the one in the middle of what is seen. */
    neighbour(by) {
        const { camera } = this;
        return this.timeline.neighbour(this.selected, by, camera.isLive ? camera.end : camera.time(camera.width / 2));
    }
}

/** One look for each session that was followed. */
export class Looks {
    constructor(store) {
        this.store = store;
        this.held = new WeakMap();
    }

    /** The look at the session that is followed, if there is one. */
    now() {
        const { followed } = this.store;
        if (!followed) return undefined;
        let look = this.held.get(followed);
        if (!look) {
            look = new Look(followed);
            this.held.set(followed, look);
        }
        return look;
    }
}
