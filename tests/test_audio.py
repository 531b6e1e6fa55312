"""Loading and windowing audio: every refusal names the file and what to do."""

import numpy as np
import pytest
import soundfile

from bamac.frontends.audio import SAMPLE_RATE, WINDOW, AudioError, load_audio, windows


def tone(rate, seconds=1.0, hz=440.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def write(path, samples, rate=SAMPLE_RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def test_16_khz_samples_come_back_as_they_are(tmp_path):
    samples = np.arange(-8000, 8000, dtype=np.int16)
    loaded = load_audio(write(tmp_path / "a.wav", samples))
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded * 32768, samples)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_any_sample_rate_becomes_16_khz(tmp_path, rate, suffix):
    loaded = load_audio(write(tmp_path / f"a.{suffix}", tone(rate), rate))
    assert loaded.size == SAMPLE_RATE
    # Away from the ends, where the resampler rings, it is the same tone sampled at 16 kHz.
    np.testing.assert_allclose(loaded[2000:-2000], tone(SAMPLE_RATE)[2000:-2000], atol=2e-3)


def test_channels_are_averaged(tmp_path):
    left, right = tone(SAMPLE_RATE), tone(SAMPLE_RATE, hz=1000)
    path = write(tmp_path / "a.wav", np.stack([left, right, right], 1), subtype="DOUBLE")
    np.testing.assert_allclose(load_audio(path), (left + 2 * right) / 3, atol=1e-6)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav does not exist; check the path$"):
        load_audio(tmp_path / "none.wav")


def test_folder_is_refused(tmp_path):
    with pytest.raises(AudioError, match="is a folder; name one audio file in it$"):
        load_audio(tmp_path)


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioError, match=r"a\.wav is empty \(0 bytes\); give a wav or flac file$"):
        load_audio(tmp_path / "a.wav")


def test_text_named_wav_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("this is not audio\n" * 50)
    with pytest.raises(AudioError, match=r"a\.wav cannot be read as audio \(.*\); "
                                         r"give a wav, flac or ogg file$"):
        load_audio(tmp_path / "a.wav")


def test_cut_off_header_is_refused(tmp_path):
    whole = write(tmp_path / "a.wav", tone(SAMPLE_RATE)).read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:20])
    with pytest.raises(AudioError, match=r"a\.wav"):
        load_audio(tmp_path / "a.wav")


def test_file_without_samples_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav holds no samples; "
                                         r"give a recording of at least 0\.1 s$"):
        load_audio(write(tmp_path / "a.wav", np.zeros(0)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_values_that_are_not_finite_are_refused(tmp_path, value, rate):
    samples = tone(rate)
    samples[[7, 70]] = value
    path = write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav holds 2 samples that are NaN or infinite; "
                                         r"write it again as 16-bit or clean float audio$"):
        load_audio(path)


@pytest.mark.parametrize("size", [1, 1599])
def test_clip_below_a_tenth_of_a_second_is_refused(tmp_path, size):
    path = write(tmp_path / "a.wav", np.full(size, 0.3))
    with pytest.raises(AudioError, match=rf"a\.wav lasts {size} samples at 16 kHz, less than "
                                         r"0\.1 s; give a longer recording$"):
        load_audio(path)


def test_clip_of_a_tenth_of_a_second_is_taken(tmp_path):
    assert load_audio(write(tmp_path / "a.wav", tone(SAMPLE_RATE, 0.1))).size == 1600


@pytest.mark.parametrize("level", [0.0, 9e-5])
def test_silence_is_refused(tmp_path, level):
    path = write(tmp_path / "a.wav", tone(SAMPLE_RATE, amplitude=level), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav is silent .*-80 dB\); "
                                         r"give a recording with speech in it$"):
        load_audio(path)


def test_faint_clip_above_the_stated_level_is_taken(tmp_path):
    load_audio(write(tmp_path / "a.wav", tone(SAMPLE_RATE, amplitude=1.1e-4), subtype="FLOAT"))


def test_short_clip_is_repeated():
    clip = np.arange(1, 30_001) / 30_000
    (window,) = windows(clip)
    np.testing.assert_array_equal(window, np.concatenate([clip, clip, clip[:20_000]]))


def test_exact_window_is_kept():
    clip = np.linspace(-1, 1, WINDOW)
    np.testing.assert_array_equal(windows(clip), clip[None])


def test_long_clip_is_cut_and_its_last_window_ends_with_it():
    clip = np.arange(1, 2 * WINDOW + 101) / 1e6
    cut = windows(clip)
    assert cut.shape == (3, 80_000)
    np.testing.assert_array_equal(cut[0], clip[:80_000])
    np.testing.assert_array_equal(cut[1], clip[80_000:160_000])
    np.testing.assert_array_equal(cut[2], clip[80_100:])


def test_multiples_of_the_window_give_no_extra_window():
    assert windows(np.ones(3 * WINDOW)).shape == (3, WINDOW)


def test_windows_refuse_what_is_no_clip():
    with pytest.raises(AudioError, match=r"Samples must have one dimension, not shape \(2, 9\)"):
        windows(np.ones((2, 9)))
    with pytest.raises(AudioError, match="The clip is silent"):
        windows(np.zeros(WINDOW))
