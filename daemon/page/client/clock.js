// Where a live stream is now: the positions that messages tell, joined by a clock that neither jumps nor runs ahead.

/** The clock runs at most this many seconds past the last received position. */
export const MAX_AHEAD_S = 2.5;
const SETTLE_S = 0.25;
const JUMP_S = 5;

/** Times of this clock are of a monotonic clock in milliseconds, such as `performance.now()`. */
export class LiveClock {
    constructor() {
        this.reset();
    }

    /** Forgets everything, as for another stream. */
    reset() {
        this.heard = 0;
        this.heardAt = undefined;
        this.position = 0;
        this.tickedAt = undefined;
    }

    /** The stream was at `position` seconds when the clock read `nowMs`. */
    hear(position, nowMs) {
        if (this.heardAt !== undefined && position <= this.heard) return;
        if (this.heardAt === undefined) this.position = position;
        this.heard = position;
        this.heardAt = nowMs;
    }

    /** The position at `nowMs`; it never goes back. */
    tick(nowMs) {
        if (this.heardAt === undefined) return 0;
        const dt = Math.max(0, (nowMs - (this.tickedAt ?? nowMs)) / 1000);
        this.tickedAt = nowMs;
        const since = Math.max(0, (nowMs - this.heardAt) / 1000);
        const target = this.heard + Math.min(since, MAX_AHEAD_S);
        const error = target - this.position;
        if (error > JUMP_S) {
            this.position = target;
        } else if (error > 0) {
            // A second a second, and the error settles beside it; never past the target.
            const settled = error * (1 - Math.exp(-dt / SETTLE_S));
            this.position = Math.min(target, this.position + Math.max(settled, Math.min(dt, error)));
        }
        return this.position;
    }
}
