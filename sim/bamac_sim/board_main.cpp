// Runs a board's top in Verilator, with its serial lines on a pseudo-terminal.
//
// Arguments: clock cycles of one bit. Prints the pseudo-terminal's name, then runs until it is
// told to stop (SIGTERM, SIGINT), and prints how many cycles it has simulated.
// The board's clock input is named by the macro CLOCK.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "Vboard.h"
#include "verilated.h"

namespace {

// Without any traffic for so long, wait for the host instead of simulating. No computation that a
// host waits for is as long as that.
constexpr uint64_t kQuietCycles = 50'000'000;
constexpr int kPollCycles = 64;

volatile std::sig_atomic_t stopped = 0;

void stop(int) { stopped = 1; }

void fail(const char* what) {
    std::perror(what);
    std::exit(2);
}

int open_terminal() {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) fail("pseudo-terminal");
    const char* name = ptsname(master);
    // Kept open, so that the terminal lives on between two hosts.
    int slave = open(name, O_RDWR | O_NOCTTY);
    if (slave < 0) fail(name);
    termios settings;
    if (tcgetattr(slave, &settings)) fail(name);
    cfmakeraw(&settings);
    if (tcsetattr(slave, TCSANOW, &settings)) fail(name);
    if (fcntl(master, F_SETFL, O_NONBLOCK)) fail(name);
    std::printf("%s\n", name);
    std::fflush(stdout);
    return master;
}

// The host's end of the line into the board.
class Sender {
  public:
    Sender(int terminal, int cycles) : terminal_(terminal), cycles_(cycles) {}

    bool idle() const { return bit_ > 9 && next_ == size_; }

    // The level of the line in the next cycle.
    bool level() {
        if (bit_ > 9) {
            if (next_ == size_ && !fetch()) return true;
            frame_ = 0x200u | static_cast<unsigned>(buffer_[next_++]) << 1;
            bit_ = 0;
            left_ = cycles_;
        }
        bool now = frame_ >> bit_ & 1;
        if (--left_ == 0) {
            ++bit_;
            left_ = cycles_;
        }
        return now;
    }

    void wait_for_host() {
        pollfd wanted{terminal_, POLLIN, 0};
        poll(&wanted, 1, 1000);
        since_ = kPollCycles;
    }

  private:
    bool fetch() {
        if (++since_ < kPollCycles) return false;
        since_ = 0;
        ssize_t got = read(terminal_, buffer_, sizeof buffer_);
        if (got <= 0) return false;
        next_ = 0;
        size_ = got;
        return true;
    }

    int terminal_, cycles_, left_ = 0, bit_ = 10, since_ = 0;
    unsigned frame_ = 0;
    unsigned char buffer_[4096];
    ssize_t next_ = 0, size_ = 0;
};

// The host's end of the line from the board.
class Receiver {
  public:
    Receiver(int terminal, int cycles) : terminal_(terminal), cycles_(cycles) {}

    bool idle() const { return bit_ < 0; }

    void sample(bool level) {
        if (bit_ < 0) {
            if (level) return;
            bit_ = 0;
            left_ = cycles_ / 2;
            frame_ = 0;
        }
        if (left_-- > 0) return;
        left_ = cycles_ - 1;
        frame_ |= static_cast<unsigned>(level) << bit_;
        if (++bit_ < 10) return;
        bit_ = -1;
        if ((frame_ & 0x201u) != 0x200u) {
            std::fprintf(stderr, "the board sent a byte without start or stop bit\n");
            return;
        }
        unsigned char byte = frame_ >> 1 & 0xFF;
        // Nobody reads: as a serial adapter, drop what no longer fits.
        if (write(terminal_, &byte, 1) < 0 && errno != EAGAIN) fail("pseudo-terminal");
    }

  private:
    int terminal_, cycles_, bit_ = -1, left_ = 0;
    unsigned frame_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    int cycles = argc == 2 ? std::atoi(argv[1]) : 0;
    if (cycles < 4) {
        std::fprintf(stderr, "usage: %s CYCLES_PER_BIT (at least 4)\n", argv[0]);
        return 2;
    }
    std::signal(SIGTERM, stop);
    std::signal(SIGINT, stop);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
    VerilatedContext context;
    Vboard board{&context};
    int terminal = open_terminal();
    Sender sender(terminal, cycles);
    Receiver receiver(terminal, cycles);

    board.button_n = 1;
    uint64_t cycle = 0, last_traffic = 0;
    for (; !stopped && !context.gotFinish(); ++cycle) {
        board.uart_rx = sender.level();
        board.CLOCK = 0;
        board.eval();
        board.CLOCK = 1;
        board.eval();
        receiver.sample(board.uart_tx);
        if (!sender.idle() || !receiver.idle()) {
            last_traffic = cycle;
        } else if (cycle - last_traffic > kQuietCycles) {
            sender.wait_for_host();
        }
    }
    std::printf("%llu cycles\n", static_cast<unsigned long long>(cycle));
    return stopped ? 0 : 1;
}
