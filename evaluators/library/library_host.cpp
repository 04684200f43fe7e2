// paretod-library-host LIBRARY [ARGUMENT...]: speaks the evaluator protocol on stdin and stdout for
// a shared library with the interface of paretod_evaluator.h.
//
// The first thread reads requests and passes cancels on at once; a second one calls evaluate(), so
// that a library may block in it.

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "adapters/json/parse.hpp"
#include "evaluators/library/paretod_evaluator.h"
#include "evaluators/process/protocol.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

using nlohmann::json;

int fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  return 1;
}

/// The protocol's stream.  What the library prints must not get into it, so stdout becomes stderr.
class Output {
 public:
  Output() : fd_(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }

  /// Line ends in JSON are only layout.  Any thread.
  void write_line(std::string text) {
    for (char& c : text) {
      if (c == '\n' || c == '\r') c = ' ';
    }
    text += '\n';
    const std::lock_guard lock(mutex_);
    for (std::size_t written = 0; written < text.size();) {
      const ssize_t count = write(fd_, text.data() + written, text.size() - written);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;  // the daemon is gone, and stdin will say so
      written += static_cast<std::size_t>(count);
    }
  }

 private:
  int fd_;
  std::mutex mutex_;
};

void on_reply(void* host, const char* text) {
  static_cast<Output*>(host)->write_line(text);
}

/// The numbers of a value, one after the other.
void flatten(const json& value, std::vector<double>& out) {
  if (value.is_structured()) {
    for (const json& item : value) flatten(item, out);
  } else if (value.is_boolean()) {
    out.push_back(value.get<bool>() ? 1 : 0);
  } else {
    out.push_back(value.is_number() ? value.get<double>()
                                    : std::numeric_limits<double>::quiet_NaN());
  }
}

struct Request {
  std::string id;
  std::string line;
  std::vector<double> values;
};

/// Calls evaluate() with what has arrived meanwhile.
class Batches {
 public:
  Batches(const paretod_evaluator& library, void* state, std::size_t slots, Output& output)
      : library_(library), state_(state), slots_(slots), output_(output) {
    thread_ = std::thread([this] { run(); });
  }
  /// Waits for the batch that is being evaluated.
  ~Batches() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;

  void add(Request request) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(request));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    while (true) {
      std::vector<Request> batch;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_) return;
        const auto end = waiting_.begin() + std::min(slots_, waiting_.size());
        batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
        waiting_.erase(waiting_.begin(), end);
      }
      std::vector<paretod_request> requests;
      for (const Request& request : batch) {
        requests.push_back({request.id.c_str(), request.line.c_str(), request.values.data(),
                            request.values.size()});
      }
      library_.evaluate(state_, requests.data(), requests.size(), on_reply, &output_);
    }
  }

  const paretod_evaluator& library_;
  void* const state_;
  const std::size_t slots_;
  Output& output_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

void serve(const paretod_evaluator& library, void* state, const EvaluatorDescription& declared,
           Output& output) {
  Batches batches(library, state, declared.slots, output);
  const auto take = [&](std::string_view line) {
    const auto message = parse_json(line);
    if (!message || !message->contains("id") || !message->contains("type")) return;
    Request request{message->at("id").get<std::string>(), std::string(line), {}};
    if (message->at("type") == "cancel") {
      if (library.cancel != nullptr) library.cancel(state, request.id.c_str());
      return;
    }
    if (message->at("type") != "evaluate") return;
    for (const Parameter& parameter : declared.space.value_or(std::vector<Parameter>{})) {
      flatten(message->at("candidate").at(parameter.name), request.values);
    }
    batches.add(std::move(request));
  };
  LineBuffer lines(longest_line);
  std::array<char, 64 * 1024> buffer;
  while (true) {
    const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    lines.append({buffer.data(), static_cast<std::size_t>(count)});
    while (const auto line = lines.next()) take(*line);
  }
}

int run(const std::string& path, const std::vector<const char*>& arguments) {
  // Without a '/' the loader would search the system's folders instead.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  Output output;
  void* const loaded = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) return fail(dlerror());
  const auto entry =
      reinterpret_cast<decltype(&paretod_evaluator_v1)>(dlsym(loaded, "paretod_evaluator_v1"));
  if (entry == nullptr)
    return fail(path + " exports no paretod_evaluator_v1 (paretod_evaluator.h)");
  const paretod_evaluator* const library = entry();
  std::array<char, 4096> error{};
  void* const state = library->open(static_cast<int>(arguments.size()), arguments.data(),
                                    error.data(), error.size() - 1);
  if (state == nullptr) return fail(path + " does not open: " + error.data());
  const std::string hello = library->describe(state);
  const auto declared = parse_hello(hello);
  if (declared) {
    output.write_line(hello);
    serve(*library, state, declared->description, output);
  }
  library->close(state);
  return declared ? 0 : fail(path + ": " + declared.error().text());
}

}  // namespace
}  // namespace paretod

int main(int argc, char** argv) {
  if (argc < 2) return paretod::fail("usage: paretod-library-host LIBRARY [ARGUMENT...]");
  return paretod::run(argv[1], {argv + 2, argv + argc});
}
