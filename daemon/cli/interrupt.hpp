#pragma once
// Ctrl-C as something to wait for.  While an Interrupt lives, SIGINT is blocked in the thread that
// made it and only noted; afterwards it ends the program as ever.  No handler, so no global state.
// Use in one thread.

#include <csignal>

namespace paretod::cli {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// Whether Ctrl-C was pressed; does not wait.
  bool pressed() { return wait(0); }
  /// Whether Ctrl-C waits to be noted in this thread.  For callbacks that should give up then.
  static bool pending();
  /// Sleeps for so many seconds; true, at once, when Ctrl-C is or was pressed.
  bool wait(double seconds);

 private:
  sigset_t signals_;
  sigset_t previous_;
  bool pressed_ = false;
};

}  // namespace paretod::cli
