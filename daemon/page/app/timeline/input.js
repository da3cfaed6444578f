// Pointer, wheel and keys of the timeline, as movements of its camera.

const CLICK_PX = 4;
const WHEEL_PER_ZOOM = 400;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {object} acts `camera()`, whether there are more lanes than are seen (`isScrolled()`), and what to do when the camera moved, a point is hovered or clicked, the person
 *     walks through the segments, leaves them, enters the one that is marked, or plays
 */
export function handle(canvas, acts) {
    const pointers = new Map();
    let travelled = 0;
    let spread;

    const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return { x: event.clientX - box.left, y: event.clientY - box.top };
    };

    canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, at(event));
        if (pointers.size === 1) travelled = 0;
        spread = undefined;
    });

    canvas.addEventListener("pointermove", (event) => {
        const before = pointers.get(event.pointerId);
        const now = at(event);
        const camera = acts.camera();
        if (!before) {
            acts.hovered(event.pointerType === "mouse" ? now : undefined);
            return;
        }
        pointers.set(event.pointerId, now);
        travelled += Math.hypot(now.x - before.x, now.y - before.y);
        if (!camera || travelled < CLICK_PX) return;
        if (pointers.size === 2) {
            const [a, b] = [...pointers.values()];
            const wide = Math.max(20, Math.abs(a.x - b.x));
            if (spread !== undefined) camera.zoom(wide / spread, (a.x + b.x) / 2);
            spread = wide;
        } else {
            camera.pan(before.x - now.x);
        }
        acts.hovered(undefined);
        acts.moved();
    });

    const leave = (event) => {
        const point = pointers.get(event.pointerId);
        pointers.delete(event.pointerId);
        spread = undefined;
        if (event.type === "pointerup" && point && travelled < CLICK_PX) acts.clicked(point);
    };
    canvas.addEventListener("pointerup", leave);
    canvas.addEventListener("pointercancel", leave);
    canvas.addEventListener("pointerleave", () => acts.hovered(undefined));

    canvas.addEventListener("wheel", (event) => {
        const camera = acts.camera();
        if (!camera) return;
        const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
        if (isSideways) camera.pan(event.deltaX || event.deltaY);
        else if (event.ctrlKey || event.metaKey) camera.zoom(Math.exp(-event.deltaY / (WHEEL_PER_ZOOM / 4)), at(event).x);
        else if (acts.isScrolled()) return;
        else camera.zoom(Math.exp(-event.deltaY / WHEEL_PER_ZOOM), at(event).x);
        event.preventDefault();
        acts.moved();
    }, { passive: false });

    canvas.addEventListener("keydown", (event) => {
        const camera = acts.camera();
        if (!camera || event.ctrlKey || event.metaKey || event.altKey) return;
        const moves = {
            ArrowLeft: () => (event.shiftKey ? acts.walked(-1) : camera.pan(-camera.width / 8)),
            ArrowRight: () => (event.shiftKey ? acts.walked(1) : camera.pan(camera.width / 8)),
            PageUp: () => camera.pan(-camera.width * 0.9),
            PageDown: () => camera.pan(camera.width * 0.9),
            "+": () => camera.zoom(1.4),
            "=": () => camera.zoom(1.4),
            "-": () => camera.zoom(1 / 1.4),
            0: () => camera.fit(),
            Home: () => camera.pan(-Infinity),
            End: () => camera.toLive(),
            Escape: acts.escaped,
            Enter: acts.entered,
            " ": acts.played,
        };
        const move = Object.hasOwn(moves, event.key) ? moves[event.key] : undefined;
        if (!move) return;
        event.preventDefault();
        move();
        acts.moved();
    });
}
