//! Rich Transcription Time Marked files (NIST RT-09 evaluation plan, appendix A): parse and write.
