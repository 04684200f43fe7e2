#include "daemon/cli/daemon_api.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <thread>
#include <vector>

namespace paretod::cli {
namespace {

constexpr std::size_t page_size = 500;
/// Beyond these a person had better hear of it.
constexpr int most_waits = 30;
constexpr int longest_wait_s = 10;

ErrorKind kind_of(int status) {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return ErrorKind::invalid;
    case 401:
    case 403:
      return ErrorKind::denied;
    case 404:
      return ErrorKind::not_found;
    case 409:
      return ErrorKind::conflict;
    case 429:
      return ErrorKind::exhausted;
    case 502:
    case 503:
    case 504:
      return ErrorKind::unavailable;
    default:
      return ErrorKind::internal;
  }
}

/// What a refusal says, in one sentence, from its problem document (RFC 9457).
Error refusal(const HttpReply& reply, const std::string& url) {
  const Json document = Json::parse(reply.body, nullptr, false);
  Error error{kind_of(reply.status), text_at(document, "detail")};
  if (error.message.empty()) error.message = text_at(document, "title");
  if (error.message.empty()) {
    error.message = url + " answered with HTTP status " + std::to_string(reply.status);
  }
  if (reply.status == 401) {
    error.message += " (name the file with the token by --token-file or PARETOD_TOKEN_FILE)";
  }
  const Json& problems = at(document, "problems");
  if (problems.is_array()) {
    for (const Json& problem : problems) {
      error.problems.push_back({text_at(problem, "pointer"), text_at(problem, "message")});
    }
  }
  return error;
}

/// How long to wait before asking again, if the daemon only wants fewer requests at a time, as it
/// may while the pages of a long list are read.  Other limits (429 too) are there to be told about.
std::optional<std::chrono::seconds> pause_wanted(const HttpReply& reply) {
  if (reply.status != 429) return std::nullopt;
  const Json document = Json::parse(reply.body, nullptr, false);
  if (text_at(document, "type") != "/problems/too-many-requests") return std::nullopt;
  const std::string after = reply.header("retry-after").value_or("");
  int seconds = 0;
  const auto end = std::from_chars(after.data(), after.data() + after.size(), seconds);
  if (end.ec != std::errc() || seconds < 0 || seconds > longest_wait_s) return std::nullopt;
  return std::chrono::seconds(seconds);
}

bool may_be_job(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

DaemonApi::DaemonApi(HttpClient client, std::string url, std::string token)
    : client_(std::move(client)), url_(std::move(url)), token_(std::move(token)) {}

HttpClient::Headers DaemonApi::with_token(HttpClient::Headers headers) const {
  if (!token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
  return headers;
}

Result<HttpReply> DaemonApi::exchange(const std::function<Result<HttpReply>()>& send) const {
  auto reply = send();
  for (int waits = 0; reply && waits < most_waits; ++waits) {
    const auto pause = pause_wanted(*reply);
    if (!pause) break;
    std::this_thread::sleep_for(*pause);
    reply = send();
  }
  if (!reply) {
    Error error = reply.error();
    if (error.kind == ErrorKind::unavailable) {
      error.message = "no paretod answers at " + url_ +
                      " (is it running? start it with `paretod serve`): " + error.message;
    }
    return error;
  }
  if (reply->status < 200 || reply->status >= 300) return refusal(*reply, url_);
  return reply;
}

Result<HttpReply> DaemonApi::get(const std::string& path) {
  const auto headers = with_token({{"Accept", "application/json"}});
  return exchange([&] { return client_.request("GET", url_ + path, headers); });
}

Result<HttpReply> DaemonApi::post(const std::string& path, std::string_view body,
                                  HttpClient::Headers headers) {
  headers.emplace_back("Content-Type", "application/json");
  headers.emplace_back("Accept", "application/json");
  headers = with_token(std::move(headers));
  return exchange([&] { return client_.request("POST", url_ + path, headers, body); });
}

Result<HttpReply> DaemonApi::stream(const std::string& path, const HttpClient::Sink& sink) {
  return exchange([&] { return client_.stream(url_ + path, with_token({}), sink); });
}

Result<Json> DaemonApi::json_of(const HttpReply& reply) const {
  Json document = Json::parse(reply.body, nullptr, false);
  if (document.is_discarded()) {
    return Error{ErrorKind::internal, url_ + " answers, but not with JSON; is it a paretod?"};
  }
  return document;
}

Result<Json> DaemonApi::get_json(const std::string& path) {
  const auto reply = get(path);
  if (!reply) return reply.error();
  return json_of(*reply);
}

Result<Json> DaemonApi::list(const std::string& path, const std::string& items,
                             const std::string& filter, std::size_t limit) {
  Json all = Json::array();
  std::string token;
  while (true) {
    const std::size_t size = limit == 0 ? page_size : std::min(page_size, limit - all.size());
    std::string query = "?page_size=" + std::to_string(size);
    if (!filter.empty()) query += "&" + filter;
    if (!token.empty()) query += "&page_token=" + url_escape(token);
    auto page = get_json(path + query);
    if (!page) return page;
    const Json& found = at(*page, items);
    if (!found.is_array()) {
      return Error{ErrorKind::internal, url_ + " answers without " + items + "; is it a paretod?"};
    }
    for (const Json& item : found) {
      if (limit == 0 || all.size() < limit) all.push_back(item);
    }
    const Json& next = at(*page, "next_page_token");
    const bool more = next.is_string() && !next.get_ref<const std::string&>().empty();
    if (!more || found.empty() || (limit > 0 && all.size() >= limit)) {
      (*page)[items] = std::move(all);
      return page;
    }
    token = next.get<std::string>();
  }
}

Result<std::string> DaemonApi::find_job(const std::string& name) {
  if (!may_be_job(name))
    return Error{ErrorKind::not_found, "\"" + printable(name) + "\" is no job id"};
  if (name != "last") {
    const auto exact = get(job_path(name));
    if (exact) return name;
    if (exact.error().kind != ErrorKind::not_found) return exact.error();
  }
  const auto jobs = list("/v1/jobs", "jobs", {}, name == "last" ? 1 : 0);
  if (!jobs) return jobs.error();
  std::vector<std::string> matches;
  for (const Json& job : at(*jobs, "jobs")) {
    const std::string id = text_at(job, "id");
    if (name == "last" || id.compare(0, name.size(), name) == 0) matches.push_back(id);
  }
  if (matches.empty()) {
    return Error{ErrorKind::not_found,
                 name == "last" ? "there is no job yet" : "no job is called \"" + name + "\""};
  }
  if (matches.size() > 1) {
    constexpr std::size_t most = 5;
    std::string known;
    for (std::size_t i = 0; i < std::min(most, matches.size()); ++i) {
      known += (i > 0 ? ", " : "") + matches[i];
    }
    if (matches.size() > most) known += ", …";
    return Error{ErrorKind::conflict, "\"" + name + "\" is the beginning of " +
                                          std::to_string(matches.size()) + " jobs: " + known};
  }
  return matches[0];
}

std::string job_path(const std::string& job, std::string_view rest) {
  return "/v1/jobs/" + url_escape(job) + std::string(rest);
}

}  // namespace paretod::cli
