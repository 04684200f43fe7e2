#pragma once
// One thread for work that would hold up the HTTP client's: merging and writing adapters.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace paretod::llm {

class Background {
 public:
  Background();
  /// Waits for what is running; what has not begun is dropped.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// Any thread; in order.
  void run(std::function<void()> work);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace paretod::llm
