// Runs on the browser's audio thread: mixes the microphone's channels and passes blocks of 16-bit samples on.

import { toPcm } from "./pcm.js";

class Blocks extends AudioWorkletProcessor {
    constructor({ processorOptions }) {
        super();
        this.block = new Float32Array(processorOptions.blockSamples);
        this.n = 0;
    }

    process([channels]) {
        const length = channels[0]?.length ?? 0;
        for (let i = 0; i < length; i += 1) {
            let sum = 0;
            for (const channel of channels) sum += channel[i];
            this.block[this.n] = sum / channels.length;
            this.n += 1;
            if (this.n === this.block.length) {
                const pcm = toPcm(this.block);
                this.port.postMessage(pcm, [pcm.buffer]);
                this.n = 0;
            }
        }
        return true;
    }
}

registerProcessor("blocks", Blocks);
