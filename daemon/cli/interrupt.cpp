#include "daemon/cli/interrupt.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>

namespace paretod::cli {

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
}

Interrupt::~Interrupt() {
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

bool Interrupt::pending() {
  sigset_t waiting;
  return sigpending(&waiting) == 0 && sigismember(&waiting, SIGINT) == 1;
}

bool Interrupt::wait(double seconds) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::duration_cast;
  using std::chrono::nanoseconds;
  const auto end =
      Clock::now() + duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (!pressed_) {
    const auto left = std::max(nanoseconds(0), duration_cast<nanoseconds>(end - Clock::now()));
    timespec time{};
    time.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000);
    time.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
    if (sigtimedwait(&signals_, nullptr, &time) == SIGINT) {
      pressed_ = true;
    } else if (errno != EINTR) {
      break;
    }
  }
  return pressed_;
}

}  // namespace paretod::cli
