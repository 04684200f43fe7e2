#include "evaluators/process/serve.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"
#include "evaluators/process/protocol.hpp"
#include "evaluators/process/relay.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::string line_of(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json failed_message(const json& request, const Error& error) {
  return {
      {"type", "error"}, {"id", request.at("id")}, {"kind", "failed"}, {"message", error.text()}};
}

void write_all(int fd, const std::string& text) {
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t count = ::write(fd, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // the daemon is gone, and stdin will say so
    written += static_cast<std::size_t>(count);
  }
}

/// Requests on their way through an evaluator.
class Server {
 public:
  Server(Evaluator& evaluator, const std::function<void(const std::string&)>& write)
      : evaluator_(evaluator),
        write_(write),
        declared_(evaluator.describe()),
        space_(SearchSpace::make(declared_.space.value_or(std::vector<Parameter>{})).value()) {}

  /// Cancels what is open and waits for its replies, since they come here.
  void finish() {
    std::vector<std::uint64_t> tickets;
    std::unique_lock lock(mutex_);
    for (const auto& [ticket, id] : open_) tickets.push_back(ticket);
    lock.unlock();
    for (const std::uint64_t ticket : tickets) evaluator_.cancel(ticket);
    lock.lock();
    answered_.wait(lock, [this] { return open_.empty(); });
  }

  void take(std::string_view line) {
    const auto message = parse_json(line);
    if (!message || !message->is_object() || !message->contains("type") ||
        !message->contains("id") || !message->at("id").is_string()) {
      return;
    }
    if (message->at("type") == "cancel") return cancel(message->at("id"));
    if (message->at("type") != "evaluate") return;
    const auto context = context_of(*message);
    if (!context) return send(failed_message(*message, context.error()));
    auto request = request_from_message(*message, *context);
    if (!request) return send(failed_message(*message, request.error()));
    {
      const std::lock_guard lock(mutex_);
      request->ticket = ++last_ticket_;
      open_[request->ticket] = message->at("id");
    }
    std::vector<EvaluationRequest> requests;
    requests.push_back(std::move(*request));
    evaluator_.evaluate(std::move(requests), [this](std::vector<EvaluationReply> replies) {
      for (const EvaluationReply& reply : replies) answer(reply);
    });
  }

 private:
  /// Equal requests share one, so that an evaluator can take them together.
  Result<std::shared_ptr<const EvaluationContext>> context_of(const json& message) {
    auto context = context_from_message(message, space_, declared_.objectives);
    if (!context) return context.error();
    const std::string key =
        context->job + " " + std::to_string(context->seed) + " " + to_json(context->params).dump();
    if (key != context_key_ || !context_) {
      const Problems problems = evaluator_.check(*context);
      if (!problems.empty()) return invalid("the request is not valid", problems);
      context_ = std::make_shared<const EvaluationContext>(std::move(*context));
      context_key_ = key;
    }
    return context_;
  }

  void cancel(const std::string& id) {
    std::uint64_t ticket = 0;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [number, name] : open_) {
        if (name == id) ticket = number;
      }
    }
    if (ticket != 0) evaluator_.cancel(ticket);
  }

  void answer(const EvaluationReply& reply) {
    // What a program of the evaluator's own said: whoever started this one keeps its stderr.
    write_all(STDERR_FILENO, reply.log);
    std::string id;
    {
      const std::lock_guard lock(mutex_);
      id = open_.at(reply.ticket);
    }
    send(message_from_reply(id, reply, declared_.objectives));
    if (reply.kind == ReplyKind::progress) return;
    const std::lock_guard lock(mutex_);
    open_.erase(reply.ticket);
    answered_.notify_all();
  }

  void send(const json& message) {
    const std::string line = line_of(message);
    const std::lock_guard lock(write_mutex_);
    write_(line);
  }

  Evaluator& evaluator_;
  const std::function<void(const std::string&)>& write_;
  const EvaluatorDescription declared_;
  const SearchSpace space_;
  std::string context_key_;  // used by the reading thread
  std::shared_ptr<const EvaluationContext> context_;
  std::mutex mutex_;
  std::uint64_t last_ticket_ = 0;
  std::map<std::uint64_t, std::string> open_;  // ids by ticket
  std::condition_variable answered_;
  std::mutex write_mutex_;
};

}  // namespace

std::string hello_line(const EvaluatorDescription& description, const std::string& name) {
  json hello{{"paretod", 1},
             {"type", "hello"},
             {"evaluator", name},
             {"slots", description.slots},
             {"objectives", to_json(description.objectives)}};
  if (description.space) hello["space"] = to_json(*description.space);
  if (!description.metrics.empty()) hello["metrics"] = description.metrics;
  if (!description.version.empty()) hello["version"] = description.version;
  if (!description.fidelity_unit.empty()) {
    hello["fidelity"] = {{"unit", description.fidelity_unit},
                         {"default", description.default_fidelity}};
  }
  if (!description.params.empty()) {
    hello["params"] = json_schema(description.params).at("properties");
  }
  return line_of(hello);
}

void serve_requests(Evaluator& evaluator, int input,
                    const std::function<void(const std::string& line)>& write) {
  Server server(evaluator, write);
  LineBuffer lines(longest_line);
  std::array<char, 64 * 1024> buffer;
  while (true) {
    const ssize_t count = ::read(input, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    lines.append({buffer.data(), static_cast<std::size_t>(count)});
    while (const auto line = lines.next()) server.take(*line);
    if (lines.too_long()) break;
  }
  server.finish();
}

void serve_process(Evaluator& evaluator, const std::string& name) {
  const int output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  write_all(output, hello_line(evaluator.describe(), name));
  serve_requests(evaluator, STDIN_FILENO,
                 [output](const std::string& line) { write_all(output, line); });
}

}  // namespace paretod
