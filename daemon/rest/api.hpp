#pragma once
// The REST API, version 1: all operations behind one function from request to response.  It knows
// jobs and nothing of sockets; HttpServer is plugged in through hooks().  Thread-safe.

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "daemon/jobs/job_manager.hpp"
#include "daemon/rest/http_server.hpp"
#include "daemon/rest/operation.hpp"
#include "daemon/rest/rate_limit.hpp"
#include "daemon/rest/system_api.hpp"

namespace paretod {

class AttemptLogs;

struct ApiOptions {
  /// If not empty, every operation but GET /healthz needs it as a bearer token.  Only its digest
  /// is kept.
  std::string token;
  /// Likewise, but good only for leases and for reading jobs and evaluators.
  std::string worker_token;
  /// Holds where a token is needed: for its holders together, and for each address that sends
  /// requests without it.  Without a token one user works on this machine, and nobody is limited.
  RateLimit rate;
  std::function<RateLimiter::Clock::time_point()> now = RateLimiter::Clock::now;
  /// What attempts wrote; may be null.  Outlives the API.
  const AttemptLogs* logs = nullptr;
  SystemHooks system;
  EventFeedOptions events;
};

class Api {
 public:
  /// `manager` must outlive the API.  Destroy the HttpServer first: its streams end with it.
  Api(JobManager& manager, ApiOptions options);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  [[nodiscard]] HttpResponse handle(const HttpRequest& request) const;
  /// Checks the credentials, counts the request against its client's rate and sets the body's
  /// limit, before the body is read.
  [[nodiscard]] BodyDecision before_body(const HttpRequest& head) const;
  /// handle() and before_body() of this object, for a server that does not outlive it.
  [[nodiscard]] HttpHooks hooks() const;

  [[nodiscard]] const std::vector<Operation>& operations() const;
  [[nodiscard]] const Router& router() const;
  [[nodiscard]] const nlohmann::json& openapi() const;

 private:
  struct Parts;
  enum class Caller { stranger, worker, owner };
  [[nodiscard]] Caller caller_of(const HttpRequest& request) const;
  [[nodiscard]] std::optional<HttpResponse> refuse(const HttpRequest& request) const;
  [[nodiscard]] std::optional<HttpResponse> refuse_haste(const HttpRequest& head) const;
  std::unique_ptr<Parts> parts_;
};

}  // namespace paretod
