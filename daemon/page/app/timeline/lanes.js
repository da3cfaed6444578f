// Where each speaker's lane is: in the order of the labels, moving to a new place rather than jumping.

import { numberOf } from "../../client/session.js";

const SETTLE_MS = 110;
/** How long a lane that is no more stays known, so that what moves out of it has a place to come from. */
const GHOST_MS = 1000;

export class Lanes {
    constructor() {
        /** @type {Map<string, {y: number, target: number, alpha: number, goneAt: number | undefined}>} */
        this.places = new Map();
        this.height = 0;
        this.movedAt = undefined;
    }

    /**
     * Lanes for these labels within `height` pixels from `top`, each at most `maxHeight` and at least `minHeight`
     * high; then more height is needed, which `total` tells.
     */
    arrange(labels, { top, height, minHeight, maxHeight, nowMs, isStill }) {
        const sorted = [...labels].sort((a, b) => numberOf(a) - numberOf(b));
        const n = Math.max(1, sorted.length);
        const laneHeight = Math.min(maxHeight, Math.max(minHeight, Math.floor(height / n)));
        const isFirst = this.movedAt === undefined;
        const dt = isFirst ? 0 : Math.max(0, nowMs - this.movedAt);
        const share = isStill || isFirst ? 1 : 1 - Math.exp(-dt / SETTLE_MS);
        this.movedAt = nowMs;
        this.height = laneHeight;
        const present = new Set(sorted);
        for (const [label, place] of this.places) {
            if (present.has(label)) {
                place.goneAt = undefined;
            } else {
                place.goneAt ??= nowMs;
                place.alpha = isStill ? 0 : Math.max(0, 1 - (nowMs - place.goneAt) / (GHOST_MS / 2));
                if (isStill || nowMs - place.goneAt > GHOST_MS) this.places.delete(label);
            }
        }
        sorted.forEach((label, idx) => {
            const target = top + idx * laneHeight;
            const place = this.places.get(label);
            if (!place) {
                this.places.set(label, { y: target, target, alpha: isStill || isFirst ? 1 : 0, goneAt: undefined });
                return;
            }
            place.target = target;
            place.y += (target - place.y) * share;
            if (Math.abs(target - place.y) < 0.25) place.y = target;
            place.alpha += (1 - place.alpha) * share;
            if (place.alpha > 0.99) place.alpha = 1;
        });
        return top + sorted.length * laneHeight;
    }

    /** Top of a lane; of an unknown one, none. */
    y(label) {
        return this.places.get(label)?.y;
    }

    /** Whether something still moves. */
    get isMoving() {
        for (const place of this.places.values()) {
            if (place.goneAt !== undefined || place.y !== place.target || place.alpha !== 1) return true;
        }
        return false;
    }

    /** Label of the lane at a height. */
    at(y) {
        for (const [label, place] of this.places) {
            if (place.goneAt === undefined && y >= place.y && y < place.y + this.height) return label;
        }
        return undefined;
    }
}
