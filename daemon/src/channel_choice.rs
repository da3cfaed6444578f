//! The configured channel as the parameters of intake and capture.

use diarized_config::Channel;
use diarized_dsp::ChannelSelect;

/// The channel that the intake takes.
#[must_use]
pub fn channel_select(channel: Channel) -> ChannelSelect {
    match channel {
        Channel::Mix => ChannelSelect::Mix,
        Channel::One(idx) => ChannelSelect::One(idx),
    }
}

/// Channels that a device must have at least for it.
#[must_use]
pub fn n_channels_min(channel: Channel) -> u16 {
    match channel {
        Channel::Mix => 1,
        Channel::One(idx) => idx + 1,
    }
}
