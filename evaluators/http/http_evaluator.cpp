#include "evaluators/http/http_evaluator.hpp"

#include <algorithm>
#include <fstream>
#include <future>
#include <utility>

#include "evaluators/declared.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

constexpr double longest_pause_s = 3600;
constexpr double hello_timeout_s = 30;

double pause_of(const HttpReply& reply, double otherwise) {
  return std::min(retry_after_s(reply).value_or(otherwise), longest_pause_s);
}

std::string excerpt(const HttpReply& reply) {
  std::string text = "it answered " + std::to_string(reply.status);
  if (!reply.body.empty()) text += ": " + printable_text(reply.body, 200);
  return text;
}

/// The body of a reply as one message, which JSON may have spread over lines.
std::string_view message_of(const HttpReply& reply) {
  std::string_view text = reply.body;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

Result<std::string> read_token(const std::string& path, const std::string& base) {
  if (path.empty()) return std::string();
  std::ifstream file(path.starts_with('/') || base.empty() ? path : base + "/" + path);
  std::string token;
  if (!std::getline(file, token) || token.empty() || token != printable_text(token, token.size()) ||
      token.find('\t') != std::string::npos) {
    return invalid("the evaluator is not configured",
                   {{"/token_file", "has to be a file whose first line is the token"}});
  }
  return token;
}

}  // namespace

template <>
Fields<HttpEvaluatorConfig> describe() {
  return Fields<HttpEvaluatorConfig>()
      .add("url", &HttpEvaluatorConfig::url,
           "http or https URL: GET answers the hello, POST evaluates")
      .add("slots", &HttpEvaluatorConfig::slots,
           "requests that are on their way at once; 0: as many as the hello says", 0, 65'536)
      .add("timeout_s", &HttpEvaluatorConfig::timeout_s,
           "seconds an attempt may take, polling included, where the job sets no shorter deadline",
           0.1, 604'800)
      .add("token_file", &HttpEvaluatorConfig::token_file,
           "file whose first line is sent as bearer token")
      .add("allow_private", &HttpEvaluatorConfig::allow_private,
           "whether the host name of the URL may lead to a loopback or private address; an address "
           "or localhost in the URL needs no permission, link-local ones never get it");
}

HttpEvaluator::HttpEvaluator(const HttpEvaluatorConfig& config, std::string token,
                             EvaluatorDescription description, std::unique_ptr<HttpMulti> client)
    : config_(config),
      token_(std::move(token)),
      description_(std::move(description)),
      client_(std::move(client)) {}

HttpEvaluator::~HttpEvaluator() = default;

Result<std::unique_ptr<HttpEvaluator>> HttpEvaluator::start(
    const HttpEvaluatorConfig& config, const EvaluatorEnvironment& environment) {
  const auto refuse = [](const std::string& field, const std::string& reason) {
    return invalid("the evaluator is not configured", {{field, reason}});
  };
  if (!same_origin(config.url, config.url) ||
      !(config.url.starts_with("http://") || config.url.starts_with("https://"))) {
    return refuse("/url", "has to be an http or https URL");
  }
  auto token = read_token(config.token_file, environment.base_directory);
  if (!token) return token.error();
  HttpMultiOptions options;
  options.max_body = longest_line;
  options.allow_internal = config.allow_private;
  auto client = std::make_unique<HttpMulti>(options);
  HttpTask ask{.method = "GET", .url = config.url, .timeout_s = hello_timeout_s};
  if (!token->empty()) ask.headers.emplace_back("Authorization", "Bearer " + *token);
  std::promise<HttpOutcome> promise;
  client->start(std::move(ask),
                [&promise](HttpOutcome outcome) { promise.set_value(std::move(outcome)); });
  const HttpOutcome outcome = promise.get_future().get();
  const auto no_hello = [](const std::string& reason) {
    return Error{ErrorKind::unavailable,
                 "the evaluator does not answer",
                 {{"/url", "GET for its hello: " + reason}}};
  };
  if (outcome.kind != HttpOutcome::Kind::reply) return no_hello(outcome.reason);
  if (outcome.reply.status != 200) return no_hello(excerpt(outcome.reply));
  auto hello = parse_hello(message_of(outcome.reply));
  if (!hello) return no_hello(hello.error().text());
  EvaluatorDescription description = std::move(hello->description);
  description.type = "http";
  if (config.slots > 0) description.slots = static_cast<std::size_t>(config.slots);
  return std::unique_ptr<HttpEvaluator>(
      new HttpEvaluator(config, std::move(*token), std::move(description), std::move(client)));
}

Problems HttpEvaluator::check(const EvaluationContext& context) const {
  return check_declared(description_, context);
}

HttpTask HttpEvaluator::task(const std::string& method, const std::string& url) const {
  HttpTask task{.method = method, .url = url};
  if (!token_.empty()) task.headers.emplace_back("Authorization", "Bearer " + token_);
  return task;
}

double HttpEvaluator::left_s(const Running& running) const {
  const std::chrono::duration<double> spent = Clock::now() - running.started;
  return running.allowed_s - spent.count();
}

void HttpEvaluator::evaluate(std::vector<EvaluationRequest> requests, Reply reply) {
  const auto shared = std::make_shared<const Reply>(std::move(reply));
  const std::lock_guard lock(mutex_);
  for (EvaluationRequest& request : requests) {
    const std::uint64_t ticket = request.ticket;
    const double deadline = request.deadline_s > 0 ? request.deadline_s : config_.timeout_s;
    Running& running = running_
                           .emplace(ticket, Running{std::move(request), shared, Clock::now(),
                                                    std::min(deadline, config_.timeout_s)})
                           .first->second;
    const std::chrono::duration<double> pause = not_before_ - Clock::now();
    if (pause.count() <= 0) {
      send(running);
      continue;
    }
    // The wait that the server asked for is not the attempt's.
    running.started = not_before_;
    client_->after(pause.count(), [this, ticket] {
      proceed(ticket, [this](Running& waiting) {
        send(waiting);
        return Answer();
      });
    });
  }
}

void HttpEvaluator::send(Running& running) {
  HttpTask post = task("POST", config_.url);
  post.headers.emplace_back("Content-Type", "application/json");
  post.headers.emplace_back("Idempotency-Key", running.request.id());
  post.body = evaluate_line(running.request, description_);
  post.timeout_s = running.allowed_s;
  post.fresh = description_.paid;
  const std::uint64_t ticket = running.request.ticket;
  running.transfer = client_->start(std::move(post), [this, ticket](const HttpOutcome& outcome) {
    proceed(ticket, [&](Running& answered) { return on_outcome(answered, outcome); });
  });
}

void HttpEvaluator::poll_later(Running& running, double seconds) {
  const std::uint64_t ticket = running.request.ticket;
  running.transfer = 0;
  client_->after(std::min(seconds, std::max(0.0, left_s(running))), [this, ticket] {
    proceed(ticket, [this, ticket](Running& waiting) -> Answer {
      if (left_s(waiting) <= 0) {
        client_->start(task("DELETE", waiting.poll_url), [](const HttpOutcome&) {});
        return unclear(waiting, "it was not done in time");
      }
      HttpTask get = task("GET", waiting.poll_url);
      get.timeout_s = left_s(waiting);
      waiting.transfer = client_->start(std::move(get), [this, ticket](const HttpOutcome& outcome) {
        proceed(ticket, [&](Running& answered) { return on_outcome(answered, outcome); });
      });
      return {};
    });
  });
}

void HttpEvaluator::cancel(std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(ticket);
  if (found == running_.end() || std::exchange(found->second.cancelled, true)) return;
  Running& running = found->second;
  if (!running.poll_url.empty()) {
    client_->start(task("DELETE", running.poll_url), [](const HttpOutcome&) {});
  }
  if (running.transfer != 0) return client_->cancel(running.transfer);
  client_->after(0, [this, ticket] { proceed(ticket, [](Running&) { return Answer(); }); });
}

template <class Step>
void HttpEvaluator::proceed(std::uint64_t ticket, Step step) {
  Answer answer;
  std::shared_ptr<const Reply> reply;
  {
    const std::lock_guard lock(mutex_);
    const auto found = running_.find(ticket);
    if (found == running_.end()) return;
    Running& running = found->second;
    answer = running.cancelled ? failed(running, ReplyKind::done, "cancelled") : step(running);
    if (!answer) return;
    answer->ticket = ticket;
    answer->worker = config_.url;
    reply = running.reply;
    if (answer->kind != ReplyKind::progress) running_.erase(found);
  }
  std::vector<EvaluationReply> replies;
  replies.push_back(std::move(*answer));
  (*reply)(std::move(replies));
}

EvaluationReply HttpEvaluator::failed(const Running& running, ReplyKind kind,
                                      const std::string& reason) const {
  EvaluationReply reply;
  reply.kind = kind;
  reply.outcome = Outcome::failure(TrialStatus::failed, reason);
  reply.outcome.cost.seconds = std::max(0.0, running.allowed_s - left_s(running));
  return reply;
}

EvaluationReply HttpEvaluator::unclear(const Running& running, const std::string& reason) const {
  if (!description_.paid) return failed(running, ReplyKind::transient, reason);
  EvaluationReply reply = failed(running, ReplyKind::done, reason);
  reply.outcome.status = TrialStatus::unknown;
  reply.cost_known = false;
  return reply;
}

HttpEvaluator::Answer HttpEvaluator::on_outcome(Running& running, const HttpOutcome& outcome) {
  if (outcome.kind != HttpOutcome::Kind::reply) return on_failure(running, outcome);
  switch (outcome.reply.status) {
    case 200:
      return on_message(running, outcome.reply);
    case 202:
      return on_accepted(running, outcome.reply);
    default:
      return on_refusal(running, outcome.reply);
  }
}

HttpEvaluator::Answer HttpEvaluator::on_failure(Running& running, const HttpOutcome& outcome) {
  if (outcome.kind == HttpOutcome::Kind::refused) {
    return failed(running, ReplyKind::fault, outcome.reason);
  }
  if (!running.poll_url.empty()) {  // asking again costs nothing
    poll_later(running, 1);
    return {};
  }
  if (outcome.kind == HttpOutcome::Kind::not_sent) {
    return failed(running, ReplyKind::transient, outcome.reason);
  }
  return unclear(running, outcome.reason);
}

HttpEvaluator::Answer HttpEvaluator::on_message(Running& running, const HttpReply& reply) {
  const auto message = parse_message(message_of(reply));
  if (!message) {
    return failed(running, ReplyKind::fault,
                  "it answered with something that is not a message: " +
                      printable_text(reply.body, 200) + "\n" + message.error().text());
  }
  const std::string& id =
      std::visit([](const auto& any) -> const std::string& { return any.id; }, *message);
  if (id != running.request.id()) {
    return failed(running, ReplyKind::fault, "it answered another request: " + id);
  }
  const auto& objectives = running.request.context->objectives;
  const double seconds = running.allowed_s - left_s(running);
  if (const auto* result = std::get_if<ResultMessage>(&*message)) {
    return reply_of(*result, objectives, seconds);
  }
  if (const auto* error = std::get_if<ErrorMessage>(&*message)) return reply_of(*error, seconds);
  if (running.poll_url.empty()) {
    return failed(running, ReplyKind::fault, "it answered a POST with progress; that needs 202");
  }
  poll_later(running, pause_of(reply, 1));
  return reply_of(std::get<ProgressMessage>(*message), objectives);
}

HttpEvaluator::Answer HttpEvaluator::on_accepted(Running& running, const HttpReply& reply) {
  if (const auto location = reply.header("location")) {
    const auto url = same_origin(config_.url, *location);
    if (!url) {
      return failed(running, ReplyKind::fault,
                    "its Location leads to another server: " + *location);
    }
    running.poll_url = *url;
  }
  if (running.poll_url.empty()) {
    return failed(running, ReplyKind::fault, "it answered 202 without a Location");
  }
  poll_later(running, pause_of(reply, 1));
  return {};
}

HttpEvaluator::Answer HttpEvaluator::on_refusal(Running& running, const HttpReply& reply) {
  if (reply.status == 429 || reply.status == 503) {
    if (!running.poll_url.empty()) {
      poll_later(running, pause_of(reply, 1));
      return {};
    }
    const std::chrono::duration<double> pause(pause_of(reply, 0));
    not_before_ =
        std::max(not_before_, Clock::now() + std::chrono::duration_cast<Clock::duration>(pause));
    return failed(running, ReplyKind::transient, excerpt(reply));
  }
  if (reply.status >= 500) return unclear(running, excerpt(reply));
  return failed(running, ReplyKind::fault, excerpt(reply));
}

EvaluatorType http_evaluator_type() {
  EvaluatorType type;
  type.name = "http";
  type.summary = "Your own HTTP service, which answers requests at once or says where to ask.";
  type.fields = paretod::describe<HttpEvaluatorConfig>().infos();
  type.create = [](const ParamValues& values,
                   const EvaluatorEnvironment& environment) -> Result<std::unique_ptr<Evaluator>> {
    const auto config = paretod::describe<HttpEvaluatorConfig>().bind(values, "");
    if (!config) return config.error();
    auto evaluator = HttpEvaluator::start(*config, environment);
    if (!evaluator) return evaluator.error();
    return std::unique_ptr<Evaluator>(std::move(*evaluator));
  };
  return type;
}

}  // namespace paretod
