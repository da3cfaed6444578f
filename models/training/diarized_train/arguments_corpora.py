"""Options of the commands that prepare published corpora."""

from __future__ import annotations

import argparse

from .arguments import Commands, Run

_SOURCES = (
    "files, folders and addresses (http://, https://USER:PASSWORD@HOST/…), each as [NAME=]WHERE; "
    "archives are zip or tar, or folders of what is in them"
)


def _add_corpus(
    corpora: Commands, run: Run, name: str, help_text: str, sources: str
) -> argparse.ArgumentParser:
    parser = corpora.add_parser(name, help=help_text, description=help_text)
    parser.add_argument("folder", metavar="DIR", help="folder of the corpus; run again to go on")
    parser.add_argument(
        "--from", dest="sources", nargs="+", required=True, metavar="SOURCE", help=f"{sources}: {_SOURCES}"
    )
    parser.add_argument("--checksums", metavar="FILE", help="list as sha256sum or md5sum writes; before published ones")
    parser.add_argument("--tries", type=int, default=6, help="how often a broken download is taken up again")
    parser.set_defaults(run_command=run, corpus=name)
    return parser


def add_corpora(prepare: argparse.ArgumentParser, run: Run) -> None:
    """``prepare CORPUS DIR``, beside the options of ``prepare`` itself."""
    corpora = prepare.add_subparsers(metavar="CORPUS", help="a published corpus, to lists that can be read here")
    _add_corpus(
        corpora,
        run,
        "voxceleb1",
        "VoxCeleb1 to wav.scp, utt2spk and lists of trials",
        "vox1_test_wav.zip, vox1_dev_wav.zip or its four parts, lists of trials such as veri_test2.txt",
    )
    ami = _add_corpus(
        corpora,
        run,
        "ami",
        "AMI to wav.scp, utt2spk, RTTM and UEM",
        "BUT's AMI-diarization-setup, and folders or archives of MEETING.MICROPHONE.wav",
    )
    ami.add_argument("--audio", metavar="ADDRESS", help="of the folder that has MEETING/audio/MEETING.MICROPHONE.wav")
    ami.add_argument("--microphone", default="Mix-Headset", help="Mix-Headset (default), Array1-01 or another")
    ami.add_argument("--parts", nargs="+", default=[], help="train, dev, test; all unless given")
    _add_corpus(
        corpora,
        run,
        "voxconverse",
        "VoxConverse to wav.scp, utt2spk, RTTM and UEM",
        "voxconverse_dev_wav.zip, voxconverse_test_wav.zip, and the repository with its RTTM files",
    )
