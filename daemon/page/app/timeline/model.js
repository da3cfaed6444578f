// What the timeline shows, computed without a canvas: bars, gaps, lanes and marks for a camera, and what lies where.

import { ticks } from "./camera.js";
import { Lanes } from "./lanes.js";

/** How long a segment takes to move to another lane. */
export const MOVE_MS = 450;
/** Bars of one lane that are closer than this are drawn as one, so that the work is bounded by the width. */
const JOIN_PX = 0.75;

const ease = (t) => (t < 0.5 ? 4 * t ** 3 : 1 - (-2 * t + 2) ** 3 / 2);

/** Segments in the order of their start, searchable by time. */
export class SegmentIndex {
    constructor() {
        this.all = [];
        this.reach = new Float64Array(0);
    }

    /** @param {Iterable<object>} segments */
    load(segments) {
        this.all = [...segments].sort((a, b) => a.start - b.start || a.id - b.id);
        if (this.reach.length < this.all.length) this.reach = new Float64Array(this.all.length * 2);
        let reach = -Infinity;
        this.all.forEach((segment, idx) => {
            reach = Math.max(reach, segment.end);
            this.reach[idx] = reach;
        });
    }

    /** Index of the first segment that may reach beyond `time`. */
    firstAfter(time) {
        let [low, high] = [0, this.all.length];
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.reach[middle] > time) high = middle;
            else low = middle + 1;
        }
        return low;
    }
}

/** The timeline of one session. */
export class TimelineModel {
    /** @param {import("../../client/session.js").SessionModel} session */
    constructor(session, now = () => performance.now()) {
        this.session = session;
        this.index = new SegmentIndex();
        this.lanes = new Lanes();
        this.moves = new Map();
        this.isStale = true;
        this.bars = [];
        this.unsubscribe = session.subscribe((message, moved) => {
            if (message.type !== "stats") this.isStale = true;
            const since = now();
            for (const { id, from } of moved) this.moves.set(id, { from, since });
        });
    }

    /** Listens to the session no longer. */
    close() {
        this.unsubscribe();
    }

    /** Whether the next frame differs without a new event. */
    get isMoving() {
        return this.moves.size > 0 || this.lanes.isMoving;
    }

    #refresh() {
        if (!this.isStale) return;
        this.index.load(this.session.segments.values());
        this.isStale = false;
    }

    /**
     * One frame: `{lanes, bars, gaps, ticks, step, bottom, live}` in CSS pixels. The bars are the same objects in
     * every frame.
     *
     * @param {import("./camera.js").Camera} camera
     * @param {object} space
     * @param {number} space.top where the lanes begin
     * @param {number} space.height what the lanes may take
     * @param {number} space.nowMs the frame's time on a monotonic clock
     * @param {boolean} [space.isStill] nothing moves by itself, as people can ask of their system
     */
    frame(camera, { top, height, nowMs, minHeight = 26, maxHeight = 60, isStill = false, spacing = 72 }) {
        this.#refresh();
        const { session, lanes } = this;
        const space = { top, height, minHeight, maxHeight, nowMs, isStill };
        const bottom = lanes.arrange(session.speakers.keys(), space);
        const marks = ticks(camera.left, camera.right, camera.scale, spacing);
        const gaps = [];
        for (const { start, end, reason } of session.gaps) {
            if (end < camera.left || start > camera.right) continue;
            gaps.push({ x: camera.x(start), width: Math.max(1, (end - start) * camera.scale), reason, start, end });
        }
        return {
            lanes: lanes.places,
            laneHeight: lanes.height,
            bars: this.#bars(camera, nowMs, isStill),
            gaps,
            ticks: marks.times.map((time) => ({ time, x: camera.x(time) })),
            step: marks.step,
            top,
            bottom,
            live: camera.x(camera.end),
        };
    }

    #bars(camera, nowMs, isStill) {
        const { bars, lanes, index, moves } = this;
        const lastOf = new Map();
        let n = 0;
        for (let i = index.firstAfter(camera.left); i < index.all.length; i += 1) {
            const segment = index.all[i];
            if (segment.start > camera.right) break;
            if (segment.end <= camera.left) continue;
            const y = this.#place(segment, nowMs, isStill);
            if (y === undefined) continue;
            const x = camera.x(segment.start);
            const right = camera.x(segment.end);
            const isMoving = moves.has(segment.id);
            const last = isMoving ? undefined : lastOf.get(segment.speaker);
            if (last && last.final === segment.final && !last.overlap === !segment.overlap
                && x - (last.x + last.width) < JOIN_PX && Math.min(last.width, right - x) < 3) {
                last.width = Math.max(last.width, right - last.x);
                last.count += 1;
                continue;
            }
            bars[n] ??= {};
            const bar = bars[n];
            n += 1;
            bar.id = segment.id;
            bar.speaker = segment.speaker;
            bar.x = x;
            bar.y = y;
            bar.width = Math.max(1, right - x);
            bar.height = lanes.height;
            bar.final = segment.final;
            bar.overlap = segment.overlap === true;
            bar.confidence = segment.confidence;
            bar.count = 1;
            bar.isMoving = isMoving;
            if (!isMoving) lastOf.set(segment.speaker, bar);
        }
        bars.length = n;
        for (const [id, move] of moves) if (isStill || nowMs - move.since >= MOVE_MS) moves.delete(id);
        return bars;
    }

    #place(segment, nowMs, isStill) {
        const to = this.lanes.y(segment.speaker);
        const move = this.moves.get(segment.id);
        if (!move || isStill || to === undefined) return to;
        const from = this.lanes.y(move.from) ?? to;
        const t = Math.min(1, Math.max(0, (nowMs - move.since) / MOVE_MS));
        return from + (to - from) * ease(t);
    }

    /** The segment at a point, or the nearest one of the lane within a few pixels. */
    hit(camera, x, y, tolerance = 4) {
        this.#refresh();
        const speaker = this.lanes.at(y);
        if (speaker === undefined) return undefined;
        const time = camera.time(x);
        const slack = tolerance / camera.scale;
        let best;
        let bestDistance = slack;
        for (let i = this.index.firstAfter(time - slack); i < this.index.all.length; i += 1) {
            const segment = this.index.all[i];
            if (segment.start > time + slack) break;
            if (segment.speaker !== speaker) continue;
            const distance = Math.max(0, segment.start - time, time - segment.end);
            if (distance < bestDistance || (distance === 0 && bestDistance === 0)) {
                [best, bestDistance] = [segment, distance];
            }
        }
        return best;
    }

    /** The gap at a position, if any. */
    gapAt(camera, x, tolerance = 3) {
        const slack = tolerance / camera.scale;
        const time = camera.time(x);
        return this.session.gaps.find((gap) => time >= gap.start - slack && time <= gap.end + slack);
    }

    /** The next segment after one, or before it when `by` is -1; from none, the last one that begins by `time`. */
    neighbour(id, by, time) {
        this.#refresh();
        const { all } = this.index;
        if (all.length === 0) return undefined;
        const at = all.findIndex((segment) => segment.id === id);
        if (at < 0) return all.findLast((segment) => segment.start <= time) ?? all[0];
        return all[Math.min(all.length - 1, Math.max(0, at + by))];
    }
}
